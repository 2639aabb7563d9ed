# SPDX-License-Identifier: Apache-2.0
"""The development files that a bare machine lacks, as one archive: Debian's own packages, unpacked into a prefix of their
own. Never installed into a system."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

# What the server needs beside a compiler, CMake and LibTorch; their own needs are found by apt.
_WANTED = """
    libabsl-dev libspdlog-dev nlohmann-json3-dev libcli11-dev catch2 libgrpc++-dev libprotobuf-dev protobuf-compiler
    protobuf-compiler-grpc prometheus-cpp-dev libcpp-httplib-dev libssl-dev zlib1g-dev pkgconf
    """.split()
# Parts of every Linux, and what only tools of these packages want.
_LEFT_OUT = re.compile(
    r"^(libc6|libc-dev-bin|libgcc|libstdc|gcc|cpp|binutils|libbinutils|libctf|libgprofng|libjansson|debconf|cdebconf|dpkg|"
    r"perl|libperl|tar$|python3|libpython|linux-libc|libcrypt|libnsl|libtirpc|rpcsvc|cmake|make|coreutils|passwd|adduser|"
    r"libpam|libselinux|libpcre|libacl|libattr|libaudit|libcap|libsem|libsep|libgmp|libmp|libisl|lib.?(a|ha|t|l|ub)san|"
    r"libitm|libatomic|libgomp|libquadmath|libnewt|libslang|libtext|libdebian|icu-devtools|libgssapi|libkrb|"
    r"libk5|libcom-err|libkeyutils|libdb|libbz2|libncurses|libtinfo|libreadline|readline|libmd0|mime|sensible|ucf|openssl$|"
    r"ca-cert|install-info|libuuid|libffi|gawk|lsb|init-system|media-types|manpages|base-files|libexpat|libsqlite|g\+\+)")
_MOST_MIB = 60


def _wanted(root: pathlib.Path) -> list[str]:
    """With the codec libraries that the server decodes with, as scripts/bootstrap names them for apt."""
    text = (root / "scripts/bootstrap").read_text()
    apt = re.search(r'apt_packages="(.*?)"', text, re.S).group(1).split()
    codecs = [p for p in apt if re.match(r"lib(jpeg|webp|png|tiff|gif|avif|heif|lcms2|dav1d|de265|icu|hwy).*-dev$", p)]
    return _WANTED + ["libjpeg62-turbo-dev" if p == "libjpeg-dev" else p for p in codecs]


def make(root: pathlib.Path, archive: pathlib.Path) -> int:
    depends = subprocess.run(
        ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
         "--no-replaces", "--no-enhances", *_wanted(root)], capture_output=True, text=True, check=True).stdout
    packages = sorted({line for line in depends.splitlines() if re.match(r"[a-z0-9]", line) and not _LEFT_OUT.match(line)})
    with tempfile.TemporaryDirectory() as work:
        prefix = pathlib.Path(work) / "prefix"
        prefix.mkdir()
        subprocess.run(["apt-get", "-q", "download", *packages], cwd=work, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for deb in sorted(pathlib.Path(work).glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(prefix)], check=True)
        _slim(prefix)
        archive.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-C", str(prefix), "-I", "xz -T0 -6", "-cf", str(archive.resolve()), "."], check=True)
    size = archive.stat().st_size / 2**20
    print(f"{archive}: {len(packages)} packages, {size:.1f} MiB")
    if size > _MOST_MIB:
        print(f"pack: more than {_MOST_MIB} MiB do not travel", file=sys.stderr)
        return 1
    return 0


def _slim(prefix: pathlib.Path) -> None:
    """Leaves headers, shared libraries and CMake's and pkg-config's files."""
    for folder in ("doc", "man", "locale", "icu", "lintian", "bash-completion"):
        shutil.rmtree(prefix / "usr/share" / folder, ignore_errors=True)
    for static in prefix.rglob("*.a"):
        if static.with_suffix(".so").is_symlink() or static.with_suffix(".so").exists():
            static.unlink()
    libraries = [str(f) for f in prefix.rglob("*.so.*") if f.is_file() and not f.is_symlink()]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=False, stderr=subprocess.DEVNULL)
    # Links of libraries that live in /lib on Debian point there by their whole path.
    for link in prefix.rglob("*.so"):
        if link.is_symlink() and str(link.readlink()).startswith("/"):
            target = prefix / str(link.readlink()).lstrip("/")
            link.unlink()
            link.symlink_to(pathlib.Path("..") / ".." / ".." / target.relative_to(prefix))


def unpack(archive: pathlib.Path, prefix: pathlib.Path) -> pathlib.Path:
    """The prefix, unpacked once."""
    stamp = prefix / ".complete"
    if not stamp.exists():
        shutil.rmtree(prefix, ignore_errors=True)
        prefix.mkdir(parents=True)
        with tarfile.open(archive) as packed:  # a bare machine may lack the program xz
            # Our own archive; Pythons before 3.11.4 have no filters.
            packed.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            packed.extractall(prefix)
        # pkg-config's files say /usr.
        for file in prefix.rglob("*.pc"):
            text = file.read_text()
            file.write_text(re.sub(r"(?m)^prefix=.*$", f"prefix={prefix}/usr", text).replace("=/usr/", f"={prefix}/usr/"))
        stamp.touch()
    return prefix
