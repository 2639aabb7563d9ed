# SPDX-License-Identifier: Apache-2.0
"""The rehearsal: the whole run on the cpu, in a root that holds a compiler, CMake, ninja and a Python with PyTorch, and of this
machine's packages nothing. Needs Debian, root rights and mmdebstrap."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

_PACKAGES = "g++,cmake,ninja-build,python3-venv,ca-certificates,xz-utils"
# As on the GPU machines that can be had: older than what the server itself asks for.
_PYTHON = ["torch==2.11.0", "numpy", "pillow", "safetensors", "grpcio", "protobuf"]


# In a mount namespace of its own: whoever kills the run, or deletes the root while it lasts, does not reach this machine's /dev.
_ENTER = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root "$@"'


def _chroot(root: pathlib.Path, *command: str) -> int:
    return subprocess.run(["unshare", "--mount", "sh", "-c", _ENTER, str(root), *command]).returncode


def make_root(cache: pathlib.Path) -> pathlib.Path:
    """The root, made once; a few minutes, most of them PyTorch's."""
    root = cache / "root"
    if (root / ".complete").exists():
        return root
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        sys.exit("the rehearsal needs root rights and mmdebstrap (apt-get install mmdebstrap)")
    shutil.rmtree(root, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)], check=True)
    venv = root / "opt/torch"
    subprocess.run([str(root / "usr/bin/python3"), "--version"], check=False)
    if _chroot(root, "python3", "-m", "venv", "/opt/torch") != 0:
        sys.exit("no Python environment in the root")
    # From outside, with the pip of this machine: it knows where packages come from.
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--python-version",
                    site.parent.name.removeprefix("python"), "--only-binary=:all:", *_PYTHON], check=True)
    (root / ".complete").touch()
    return root


def run(repository: pathlib.Path, archive: pathlib.Path, minutes: float) -> int:
    if not archive.exists():
        sys.exit(f"{archive} is missing: scripts/cuda-acceptance --pack")
    root = make_root(repository / ".cache/cuda-rehearsal")
    tree = root / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    # What travels: the files that git knows, and the archive.
    files = subprocess.run(["git", "-C", str(repository), "ls-files", "-z"], capture_output=True, check=True).stdout
    pipe = subprocess.Popen(["tar", "-C", str(repository), "--null", "-T", "-", "-cf", "-"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-C", str(tree), "-xf", "-"], stdin=pipe.stdout)
    pipe.stdin.write(files)
    pipe.stdin.close()
    if pipe.wait() != 0 or unpack.wait() != 0:
        sys.exit("the tree could not be copied")
    (tree / "build").mkdir()
    shutil.copy(archive, tree / "build/cuda-pack.tar.xz")
    code = _chroot(root, "/opt/torch/bin/python3", "/tree/scripts/cuda-acceptance", "--device", "cpu", "--minutes", str(minutes))
    out = repository / "build/cuda"
    shutil.copytree(tree / "build/cuda", out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("prefix", "tree", "models"))
    # To take along where minutes count: they need no building on a machine with the same LibTorch.
    programs, mark = tree / "build/cuda/tree/bin", tree / "build/cuda/tree/bin/libtorch"
    if mark.exists():
        (out / "tree/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(mark, out / "tree/bin")
        for name in ("embedd", "bench_engine", "bench_served", "device_torch"):
            if (programs / name).exists():
                subprocess.run(["strip", "-o", str(out / "tree/bin" / name), str(programs / name)], check=True)
    print(f"the report: {out / 'report.md'}")
    return code
