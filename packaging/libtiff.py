# SPDX-License-Identifier: Apache-2.0
"""libtiff without JBIG, for what is given to others: Debian's libtiff needs libjbig, which is under the GPL.

Built from the distribution's own source, with its patches, into a folder that is kept. Same version, same interface; pictures
of fax machines in JBIG are then refused as unsupported, as Pillow's own wheels do.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

_OFF = ("jbig", "cxx", "tiff-tools", "tiff-tests", "tiff-contrib", "tiff-docs")


def built(cache: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(folder of libtiff.so.6, its licence text); a minute the first time."""
    out = cache / "out"
    if not (out / "complete").exists():
        shutil.rmtree(cache, ignore_errors=True)
        source = _source(cache)
        options = [f"-D{name}=OFF" for name in _OFF]
        _run("cmake", "-G", "Ninja", "-S", str(source), "-B", str(cache / "build"), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON",
             "-Dld-version-script=ON", "-DCMAKE_INSTALL_LIBDIR=lib", f"-DCMAKE_INSTALL_PREFIX={out}", *options)  # fmt: skip
        _run("ninja", "-C", str(cache / "build"), "install")
        said = subprocess.run(["ldd", str(out / "lib/libtiff.so.6")], check=True, capture_output=True, text=True).stdout
        if "jbig" in said:
            sys.exit("libtiff was built with JBIG all the same")
        shutil.copy(source / "debian/copyright", out / "copyright")
        (out / "complete").touch()
    return out / "lib", out / "copyright"


def _source(cache: pathlib.Path) -> pathlib.Path:
    """The source package, found through lists of our own: those of the system know no sources."""
    parts, lists = cache / "apt/parts", cache / "apt/lists"
    parts.mkdir(parents=True)
    (lists / "partial").mkdir(parents=True)
    for file in pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"):
        text = file.read_text()
        if "debian" in text:
            (parts / file.name).write_text(text.replace("Types: deb\n", "Types: deb-src\n"))
    old = pathlib.Path("/etc/apt/sources.list")
    if old.exists():
        lines = [line.replace("deb ", "deb-src ", 1) for line in old.read_text().splitlines() if line.startswith("deb ")]
        (parts / "old.list").write_text("\n".join(lines) + "\n")
    options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}", "-o", f"Dir::State::lists={lists}",
               "-o", "APT::Sandbox::User=root", "-q"]  # fmt: skip
    _run("apt-get", *options, "update", cwd=cache)
    _run("apt-get", *options, "source", "tiff", cwd=cache)
    return next(path for path in cache.glob("tiff-*") if path.is_dir())


def _run(*command: str, cwd: pathlib.Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
