# SPDX-License-Identifier: Apache-2.0
"""What of other projects a package carries: the libraries that a program needs, their licence texts, and a refusal of what may
not be carried. Used by scripts/build-wheel."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

# Libraries that may go into a package of ours, by the start of their name, and under which licence. One that is not here stops the
# build: say its licence first. None is under the GPL; libgcc_s and libstdc++ (GPL with its runtime exception) are the system's.
LICENCES = {
    "libabsl_": "Apache-2.0",
    "libaddress_sorting": "Apache-2.0",
    "libbrotli": "MIT",
    "libcares": "MIT",
    "libcpp-httplib": "MIT",
    "libcrypto": "Apache-2.0",
    "libdav1d": "BSD-2-Clause",
    "libde265": "LGPL-3.0-or-later",
    "libdeflate": "MIT",
    "libfmt": "MIT",
    "libgpr": "Apache-2.0",
    "libgrpc": "Apache-2.0",
    "libicu": "ICU",
    "libjpeg": "IJG AND BSD-3-Clause AND Zlib",
    "libLerc": "Apache-2.0",
    "liblcms2": "MIT",
    "liblzma": "LicenseRef-public-domain",
    "libprometheus-cpp": "MIT",
    "libprotobuf": "BSD-3-Clause",
    "libre2": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "libspdlog": "MIT",
    "libssl": "Apache-2.0",
    "libtiff": "libtiff",
    "libupb": "BSD-3-Clause",
    "libutf8_": "MIT",
    "libwebp": "BSD-3-Clause",
    "libz.": "Zlib",
    "libzstd": "BSD-3-Clause",
}
# The system's own, on every Linux; and LibTorch with what its wheel brings.
_SYSTEM = re.compile(r"^(linux-vdso|ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libutil\.|libresolv\.|libgcc_s\.|libstdc\+\+\.)")
TORCH = ("libtorch*", "libc10*", "libgomp*", "libcud*", "libcupti*", "libnv*", "libshm*")
_TORCH = re.compile("^(" + "|".join(pattern.replace("*", ".*") for pattern in TORCH) + ")")


class Library(NamedTuple):
    name: str
    path: pathlib.Path
    licence: str


def needed(programs: list[pathlib.Path], environment: dict[str, str]) -> list[Library]:
    """The libraries that the programs need and that neither the system nor torch has everywhere."""
    found: dict[str, Library] = {}
    for program in programs:
        said = subprocess.run(["ldd", str(program)], check=True, capture_output=True, text=True, env=environment).stdout
        for name, path in re.findall(r"^\s*(\S+) => (\S+)", said, re.M):
            if path == "not":
                sys.exit(f"{program} needs {name}, which is not found")
            if not _SYSTEM.match(name) and not _TORCH.match(name):
                found[name] = Library(name, pathlib.Path(path), licence_of(name, path))
    return sorted(found.values())


def licence_of(name: str, path: object) -> str:
    for start, licence in LICENCES.items():
        if name.startswith(start):
            return licence
    sys.exit(f"{name} ({path}) may not be packed: say its licence in {__file__}, or build without it")


def debian_packages(paths: list[pathlib.Path]) -> dict[pathlib.Path, str]:
    """The Debian package that each file is of; a file of none is not in it."""
    # dpkg knows a file by the name it was packed under: with or without /usr, which is one folder today.
    spellings = {str(spelling): path for path in paths for real in {path, path.resolve()}
                 for spelling in {real, pathlib.Path(str(real).removeprefix("/usr"))}}  # fmt: skip
    said = subprocess.run(["dpkg", "-S", *spellings], capture_output=True, text=True).stdout
    found = re.findall(r"^([a-z0-9.+-]+)(?::\S+)?: (\S+)$", said, re.M)
    return {spellings[name]: package for package, name in found if name in spellings}


def write_texts(libraries: list[Library], own: dict[str, tuple[str, pathlib.Path]], folder: pathlib.Path) -> None:
    """The licence of each into the folder, by package. `own`: libraries that were built here, file name -> (package, its text).

    On Debian the text is the package's copyright file, with the common licences it points to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packages = debian_packages([library.path for library in libraries if library.name not in own])
    common: set[str] = set()
    for library in libraries:
        package, text = own.get(library.name, ("", None))
        if text is None:
            package = packages.get(library.path, "")
            text = pathlib.Path("/usr/share/doc") / package / "copyright"
        if not package or not text.is_file():
            sys.exit(f"{library.name}: no licence text of it is found")
        content = text.read_text(errors="replace")
        (folder / f"{package}.txt").write_text(content)
        common |= set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])", content))
    for name in common:
        text = pathlib.Path("/usr/share/common-licenses") / name
        # The GPL too: copyright files name it for build scripts and tests, which are not packed, and the LGPL 3 wants its text beside.
        if text.is_file():
            (folder / f"common-{name}.txt").write_text(text.read_text())
