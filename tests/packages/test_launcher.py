# SPDX-License-Identifier: Apache-2.0
"""The console scripts of the wheel embedd-server, with a program and a torch that are only names."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path):
    """A folder as pip leaves it: the package, and torch 2.13 beside."""
    package = tmp_path / "site" / "embedd_server"
    shutil.copytree(ROOT / "packaging/wheel/embedd_server", package)
    (package / "_built.py").write_text('VERSION = "0.1.0"\nLIBTORCH = "2.13.0"\n')
    (package / "bin").mkdir()
    for name in ("embedd", "embedctl"):
        (package / "bin" / name).write_text('#!/bin/sh\necho "$0 $*; libraries: $LD_LIBRARY_PATH"\n')
        (package / "bin" / name).chmod(0o755)
    torch(tmp_path / "site", "2.13.1+cu130")
    return tmp_path / "site"


def torch(site, version):
    (site / "torch/lib").mkdir(parents=True, exist_ok=True)
    (site / "torch/__init__.py").write_text("raise RuntimeError('torch is not to be imported')")
    (site / "torch/version.py").write_text(f"__all__ = ['x']\n__version__ = '{version}'\n")


def call(site, script, *arguments, also=()):
    # -S: no packages but those in the folders named here.
    code = f"import sys; sys.argv = ['{script}', *sys.argv[1:]]; from embedd_server._run import {script}; {script}()"
    path = ":".join(map(str, [site, *also]))
    return subprocess.run([sys.executable, "-S", "-c", code, *arguments], env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True)  # fmt: skip


def test_flags_reach_the_program(site):
    done = call(site, "embedd", "--model", "a folder", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{site}/embedd_server/bin/embedd --model a folder --help; libraries: \n"
    assert call(site, "embedctl", "info").stdout.startswith(f"{site}/embedd_server/bin/embedctl info;")


def test_torch_of_another_folder_is_found(site, tmp_path):
    shutil.rmtree(site / "torch")
    torch(tmp_path / "other", "2.13.0")
    assert call(site, "embedd", also=[tmp_path / "other"]).stdout.endswith(f"libraries: {tmp_path}/other/torch/lib\n")


@pytest.mark.parametrize("version, said", [("2.12.1", "finds 2.12.1"), ("2.14.0+cpu", "finds 2.14.0+cpu"), (None, "is not installed")])
def test_another_torch_or_none_is_said_with_what_to_do(site, version, said):
    shutil.rmtree(site / "torch")
    if version:
        torch(site, version)
    done = call(site, "embedd", "--model", "x")
    assert done.returncode == 5 and done.stdout == ""
    assert said in done.stderr and "pip install 'torch==2.13.*'" in done.stderr
    assert call(site, "embedctl", "info").returncode == 0  # which needs none


def test_pull_is_not_given_to_the_program(site):
    done = call(site, "embedd", "pull", "--help", also=[ROOT / "client/python/src"])
    assert "libraries" not in done.stdout  # without grpc here it ends in an error of Python, and not in the program


def test_a_program_that_is_not_there_is_said(site):
    (site / "embedd_server/bin/embedctl").unlink()
    done = call(site, "embedctl")
    assert done.returncode == 1 and "--force-reinstall" in done.stderr
