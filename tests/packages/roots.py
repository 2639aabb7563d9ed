# SPDX-License-Identifier: Apache-2.0
"""Clean Debian roots to install packages into: made by mmdebstrap once, unpacked for each test, with nothing of this machine but
its kernel, its loopback network and what is copied in. Needs Debian, root rights and mmdebstrap."""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "packages"
NIGHTLY = os.environ.get("EMBEDD_NIGHTLY", "") not in ("", "0")
SUITE = "bookworm"

# In a mount namespace of its own: nothing stays mounted, whatever happens.
_ENTER = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


def missing() -> str:
    """Why no root can be made here; "" where one can."""
    if not NIGHTLY:
        return "a nightly test (scripts/test --nightly)"
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        return "needs root rights and mmdebstrap"
    return ""


def base(name: str, *packages: str, without: tuple[str, ...] = ()) -> pathlib.Path:
    """A tar of a minimal Debian with these packages and without files that match; made once and kept."""
    tar = CACHE / f"{name}.tar"
    wanted = f"{SUITE} {' '.join([*packages, *without])}"
    stamp = CACHE / f"{name}.stamp"
    if not tar.exists() or not stamp.exists() or stamp.read_text() != wanted:
        CACHE.mkdir(parents=True, exist_ok=True)
        include = [f"--include={','.join(packages)}"] if packages else []
        # Licences stay, as everywhere.
        options = [f"--dpkgopt=path-exclude={path}" for path in without] + ["--dpkgopt=path-include=/usr/share/doc/*/copyright"] * bool(without)
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", *include, *options, SUITE, str(tar)], check=True)
        stamp.write_text(wanted)
    return tar


class Root:
    """A root in a folder of its own. `run` waits for a command in it, `start` starts a server there."""

    def __init__(self, tar: pathlib.Path, folder: pathlib.Path) -> None:
        self.path = folder
        self._started: list[subprocess.Popen] = []
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(folder), "--exclude=./dev/*", "-xf", str(tar)], check=True)
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
        (folder / "etc/hosts").write_text("127.0.0.1 localhost\n")

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.path)], check=True)

    def _command(self, command: tuple[str, ...], user: str, environment: dict[str, str], beside: pathlib.Path | None = None) -> list[str]:
        settings = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **environment}
        inside = ["/usr/bin/env", "-i", *[f"{name}={value}" for name, value in settings.items()], *command]
        if user:
            inside = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", *inside]
        enter = _ENTER
        if beside:
            (self.path / "beside").mkdir(exist_ok=True)
            enter = f'mount --bind {shlex.quote(str(beside))} "$0/beside" && {_ENTER}'
        return ["unshare", "--mount", "sh", "-c", enter, str(self.path), *inside]

    def run(self, *command: str, user: str = "", check: bool = True, beside: pathlib.Path | None = None,
            **environment: str) -> subprocess.CompletedProcess:  # fmt: skip
        """`beside`: a folder of this machine, seen as /beside during the command."""
        done = subprocess.run(self._command(command, user, environment, beside), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}"
        return done

    def start(self, *command: str, user: str = "", **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(self._command(command, user, environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
        self._started.append(process)
        return process


def address(process: subprocess.Popen, seconds: float = 180) -> str:
    """HOST:PORT that a starting server's log names."""
    end = time.monotonic() + seconds
    log = []
    while time.monotonic() < end and (line := process.stderr.readline()):
        log.append(line)
        if "listening on " in line:
            return line.split("listening on ")[1].split('"')[0].split()[0]
    raise AssertionError("the server does not say where it listens:\n" + "".join(log))


def drained(process: subprocess.Popen) -> int:
    """Sends SIGTERM, as a supervisor does, and returns the exit code. The program replaced the shells before it: its id is ours."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=90)
    return process.returncode


def megabytes(*paths: pathlib.Path) -> float:
    """As du counts them: what they take on the disk."""
    said = subprocess.run(["du", "-sck", "--apparent-size", *map(str, paths)], check=True, capture_output=True, text=True).stdout
    return int(said.splitlines()[-1].split()[0]) * 1024 / 1e6


class Booted:
    """The root as a machine of its own, with systemd as its first process, sharing this machine's loopback."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._console = open(f"{root.path}.console", "w")
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--resolv-conf=off", "--boot", "-D", str(root.path)],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._init = 0
        self.until(self._find_init)
        self.until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"))

    def _find_init(self) -> bool:
        children = pathlib.Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for child in children:
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._init = int(child)
        return self._init != 0

    def __enter__(self) -> Booted:
        return self

    def __exit__(self, *_: object) -> None:
        self.run("systemctl", "poweroff", check=False)
        try:
            self._nspawn.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._console.close()

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        settings = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **environment}
        done = subprocess.run(
            ["nsenter", "--target", str(self._init), "--all", "/usr/bin/env", "-i", *[f"{k}={v}" for k, v in settings.items()], *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}"
        return done

    def until(self, true, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end and self._nspawn.poll() is None, "the machine does not come to it"
            time.sleep(0.2)
