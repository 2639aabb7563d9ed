# SPDX-License-Identifier: Apache-2.0
"""The console scripts `embedd` and `embedctl`: look whether LibTorch is beside, then become the program by exec.

`embedd pull` stays in Python (embedd.pull); every other word and flag is the program's own. torch is never imported: that
takes seconds, and the program needs only its libraries.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import sys

from ._built import LIBTORCH

_HERE = pathlib.Path(__file__).resolve().parent
_NO_DEVICE = 5  # the exit code of embedd where LibTorch is not as it must be


def embedd() -> None:
    if sys.argv[1:2] == ["pull"]:
        from embedd.pull import main

        sys.exit(main(sys.argv[2:]))
    _become("embedd", _environment())


def embedctl() -> None:
    _become("embedctl", dict(os.environ))


def _become(program: str, environment: dict[str, str]) -> None:
    path = _HERE / "bin" / program
    try:
        os.execve(path, [program, *sys.argv[1:]], environment)
    except OSError as error:
        sys.exit(f"{program}: {path}: {error.strerror}. Install the wheel embedd-server again (pip install --force-reinstall --no-deps FILE)")


def _environment() -> dict[str, str]:
    """As it is, or with torch's library folder where that is not in the folder that the program looks into."""
    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        _stop(f"PyTorch is not installed in {sys.prefix}, and embedd computes with its libraries")
    lib = pathlib.Path(found.submodule_search_locations[0]) / "lib"
    version = _version(lib.parent)
    if version.split(".")[:2] != LIBTORCH.split(".")[:2]:
        _stop(f"embedd was built with LibTorch {LIBTORCH} and finds {version}: its C++ interface changes between them")
    if lib.resolve() == (_HERE.parent / "torch" / "lib").resolve():
        return dict(os.environ)
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    before = os.environ.get(name)
    return {**os.environ, name: f"{lib}{os.pathsep}{before}" if before else str(lib)}


def _version(torch: pathlib.Path) -> str:
    """What torch says it is, without importing it."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # built from source, and not installed by pip
        said = re.search(r"__version__ = ['\"](.+)['\"]", (torch / "version.py").read_text())
        return said[1] if said else "of no version"


def _stop(why: str) -> None:
    minor = ".".join(LIBTORCH.split(".")[:2])
    print(f"embedd: {why}. Either: pip install 'torch=={minor}.*', or the embedd-server that was built with the other one",
          file=sys.stderr)  # fmt: skip
    sys.exit(_NO_DEVICE)
