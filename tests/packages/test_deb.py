# SPDX-License-Identifier: Apache-2.0
"""The Debian package in a Debian that boots: installed, started by its unit with all its hardening, upgraded, removed, purged."""

import os
import pathlib
import re
import shutil
import subprocess
import time

import numpy as np
import pytest

import roots

pytestmark = pytest.mark.skipif(bool(roots.missing()), reason=roots.missing())
TARGET = "127.0.0.1:50951"  # loopback is shared with this machine, so not the usual port


@pytest.fixture(scope="module")
def deb(build, expected):
    """The package; EMBEDD_DEB names one that is there."""
    if "EMBEDD_DEB" in os.environ:
        return pathlib.Path(os.environ["EMBEDD_DEB"])
    subprocess.run([str(roots.ROOT / "scripts/build-deb"), str(build)], check=True)
    return max((build / "packages").glob("*.deb"), key=os.path.getmtime)


@pytest.fixture(scope="module")
def machine(deb, pictures, tmp_path_factory):
    tar = roots.base("systemd", "systemd", "systemd-sysv", "dbus", "adduser", "ca-certificates")
    with roots.Root(tar, tmp_path_factory.mktemp("deb") / "root") as root:
        shutil.copy(deb, root.path / "embedd.deb")
        shutil.copytree(roots.ROOT / "models/demo", root.path / "demo")
        shutil.copytree(pictures, root.path / "pictures")
        root.run("apt-get", "update", "-q")
        with roots.Booted(root) as machine:
            yield machine


def state(machine):
    return machine.run("systemctl", "show", "embedd", "-p", "ActiveState,MainPID,ExecMainStatus,Result").stdout


def test_lintian_finds_no_error(deb):
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", str(deb)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_life_of_the_package(machine, deb, pictures, expected):
    start = time.monotonic()
    machine.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "/embedd.deb", DEBIAN_FRONTEND="noninteractive")
    seconds = time.monotonic() - start
    assert re.fullmatch(r"embedd \d+\.\d+\.\d+\n", machine.run("embedd", "--version").stdout)
    assert "ActiveState=inactive" in state(machine)  # it has no model yet
    assert machine.run("getent", "passwd", "embedd").stdout.split(":")[5] == "/var/lib/embedd"

    # Without a model it says which file, and is not started again and again.
    machine.run("systemctl", "start", "embedd", check=False)
    machine.until(lambda: "ActiveState=failed" in state(machine))
    assert "ExecMainStatus=3" in state(machine)
    assert "/var/lib/embedd/model" in machine.run("journalctl", "-u", "embedd", "-o", "cat").stdout

    # As an administrator does it.
    machine.run("cp", "-r", "/demo", "/var/lib/embedd/model")
    conf = machine.root.path / "etc/embedd/embedd.conf"
    conf.write_text(conf.read_text().replace("127.0.0.1:50051", TARGET).replace("http = 127.0.0.1:9464", "http = off"))
    machine.run("systemctl", "enable", "--now", "embedd")
    machine.until(lambda: machine.run("embedctl", "--target", TARGET, "probe", check=False).returncode == 0)
    assert difference(machine, pictures, expected) <= 1e-6
    pid = re.search(r"MainPID=(\d+)", state(machine))[1]
    status = machine.run("cat", f"/proc/{pid}/status").stdout
    uid = machine.run("id", "-u", "embedd").stdout.strip()
    assert re.search(rf"^Uid:\t{uid}\t", status, re.M) and re.search(r"^NoNewPrivs:\t1", status, re.M)
    assert re.search(r"^CapBnd:\t0+$", status, re.M) and re.search(r"^Seccomp:\t2", status, re.M)
    score = machine.run("systemd-analyze", "security", "embedd", "--no-pager").stdout
    exposure = float(re.search(r"exposure level for embedd.service: ([\d.]+)", score)[1])
    assert exposure < 3

    # A newer version: the settings stay, the server goes on with the new one.
    newer(machine.root, deb)
    machine.run("apt-get", "install", "-y", "-q", "/newer.deb", DEBIAN_FRONTEND="noninteractive")
    assert TARGET in conf.read_text()
    assert re.search(r"MainPID=(\d+)", state(machine))[1] != pid
    machine.until(lambda: machine.run("embedctl", "--target", TARGET, "probe", check=False).returncode == 0)
    log = machine.run("journalctl", "-u", "embedd", "-o", "cat").stdout
    assert "status=9" not in log and "drained" in log

    machine.run("apt-get", "remove", "-y", "-q", "embedd")
    assert "ActiveState=inactive" in state(machine) and conf.exists()
    assert machine.run("which", "embedd", check=False).returncode != 0
    machine.run("apt-get", "purge", "-y", "-q", "embedd")
    assert not conf.exists() and (machine.root.path / "var/lib/embedd/model/open_clip_config.json").exists()
    size = roots.megabytes(deb)
    print(f"\n    {deb.name}: {size:.0f} MB; apt-get install {seconds:.0f} s with its dependencies; systemd-analyze security {exposure}")


def difference(machine, pictures, expected):
    from embedd import EmbedClient

    with EmbedClient(TARGET) as client:
        return float(np.abs(client.embed_images(sorted(pictures.iterdir())) - expected).max())


def newer(root, deb):
    """The same package with a higher version."""
    folder = root.path / "tmp/newer"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(folder)], check=True)
    control = folder / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+1", control.read_text()))
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", str(folder), str(root.path / "newer.deb")], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder)
