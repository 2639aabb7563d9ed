# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the server and its peers, one at a time; the CPU time and memory of all their processes."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time

from . import callers, inputs
from .common import ROOT, WORK, cpu_seconds, descendants, embedd, interpreter

_PEERS = ROOT / "bench/peers"
_START_SECONDS, _CALL_SECONDS = 120, 180
_OWN_ENV = {"litserve", "ray", "bentoml", "infinity", "pytriton", "clip_server"}  # the others run in .venv
# For all: what the programs import; threads that spin briefly while they wait, as the server's do (docs/performance.md: it
# matters where the machine is busy); nothing is sent or looked up anywhere.
ENV = {"PYTHONPATH": f"{ROOT / 'bench'}:{ROOT / 'client/python/src'}", "GOMP_SPINCOUNT": "2000",
       "DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0",
       "BENTOML_DO_NOT_TRACK": "true", "HF_HUB_OFFLINE": "1"}
NAMES = ("embedd", "loop", "pool", "plain_grpc", "litserve", "ray", "bentoml", "infinity", "pytriton", "clip_server")
IN_PROCESS = ("loop", "pool")
TAKES = {"infinity": ("jpeg", "12mp"), "clip_server": ("jpeg", "12mp")}  # files only


def python(peer: str) -> pathlib.Path:
    return interpreter(peer) if peer in _OWN_ENV else ROOT / ".venv/bin/python"


def loop_command(name: str, model: pathlib.Path) -> list:
    return [python(name), _PEERS / "loop.py", "--model", model, "--decoders", os.cpu_count() if name == "pool" else 0]


def adopt_orphans() -> None:
    """Processes whose parent has ended become this one's children (Linux), so that none is lost sight of. And an end by
    SIGTERM runs `finally`, as one by Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _children() -> list[int]:
    return descendants(os.getpid())[1:]


def cpu() -> float:
    """CPU seconds of the contender that runs: of everything that this process has started."""
    me = os.getpid()
    return sum(cpu_seconds(child) for child in descendants(me, deep=False)[1:])


def memory() -> int:
    """Bytes of all its processes; a page that n of them share counts 1/n for each."""
    total = 0
    for one in _children():
        try:
            lines = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
        except (OSError, StopIteration):
            continue
    return total


@dataclasses.dataclass
class Bound:
    """How much a peer may hold where a deadline counts: calls at a time, seconds a call may wait. 0: as much as comes."""

    queue: int = 0
    wait: float = 0


class Embedd:
    def __init__(self, model: pathlib.Path) -> None:
        self._server = embedd(model)

    def caller(self, timeout: float = _CALL_SECONDS) -> callers.Caller:
        return callers.grpc(int(self._server.grpc.rpartition(":")[2]), timeout)

    def stop(self) -> None:
        self._server.stop()


class Peer:
    """Ready when it has answered a call."""

    def __init__(self, name: str, model: pathlib.Path, bound: Bound) -> None:
        self._caller = getattr(callers, "grpc" if name == "plain_grpc" else name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        command, env = self._command(name, model, bound)
        WORK.mkdir(parents=True, exist_ok=True)
        self.log = WORK / f"{name}.log"
        self._temporary = tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True)
        temporary = {"TMPDIR": self._temporary.name, "RAY_TMPDIR": self._temporary.name}
        self._process = subprocess.Popen([str(word) for word in command], cwd=WORK, stdin=subprocess.DEVNULL,
                                         stdout=self.log.open("w"), stderr=subprocess.STDOUT,
                                         env={**os.environ, **ENV, **temporary, **env}, start_new_session=True)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def _command(self, name: str, model: pathlib.Path, bound: Bound) -> tuple[list, dict]:
        own = ["--model", model, "--port", self._port, "--queue", bound.queue, "--wait", bound.wait]
        program = _PEERS / ("plain_grpc.py" if name == "plain_grpc" else f"{name}_app.py")
        if name == "bentoml":
            return ([python(name), "-m", "bentoml", "serve", "bentoml_app:Embed", "--host", "127.0.0.1", "--port", self._port,
                     "--working-dir", _PEERS],
                    {"PEER_MODEL": str(model), "PEER_QUEUE": str(bound.queue), "PEER_WAIT": str(bound.wait),
                     "BENTOML_HOME": str(WORK / "bentoml")})
        if name == "ray":
            return [python(name), program, *own], {"RAY_AUTH_MODE": "disabled"}
        if name == "pytriton":  # Triton's Python backend links to libpython and has to find the one of this interpreter
            return [python(name), program, *own], {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")}
        return [python(name), program, *own], {}

    def _wait_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                caller = self.caller()
                caller.send(caller.prepare(inputs.call("jpeg", 1)))
                return
            except Exception as error:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError(f"did not start: {error}; see {self.log}") from error
                time.sleep(0.3)

    def caller(self, timeout: float = _CALL_SECONDS) -> callers.Caller:
        return self._caller(self._port, timeout)

    def stop(self) -> None:
        """Its first process by SIGTERM; the others have five seconds to follow it, then whatever is left gets SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        kill = time.monotonic() + 5
        while (left := _children()) and time.monotonic() < kill + 10:
            for one in left:
                try:
                    if time.monotonic() > kill:
                        os.kill(one, signal.SIGKILL)
                    if one != self._process.pid:
                        os.waitpid(one, os.WNOHANG)
                except OSError:  # ended, or not (yet) a child of ours
                    pass
            self._process.poll()
            time.sleep(0.1)
        self._temporary.cleanup()


def start(name: str, model: pathlib.Path, bound: Bound = Bound()):
    return Embedd(model) if name == "embedd" else Peer(name, model, bound)


__all__ = ["Bound", "ENV", "IN_PROCESS", "NAMES", "TAKES", "adopt_orphans", "cpu", "loop_command", "memory", "python", "start"]
