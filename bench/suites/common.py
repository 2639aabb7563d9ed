# SPDX-License-Identifier: Apache-2.0
"""What the suites share: figures with their spread, contenders that take turns, servers under load, CPU time."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench/soak"), str(ROOT / "client/python/src")]

from server import Server  # noqa: E402

BIN = ROOT / "build/release/bin"
WORK = ROOT / "build/bench"


def interpreter(peer: str) -> pathlib.Path:
    """The Python of a peer that bench/peers/setup made; it exists if the peer is installed."""
    env = ROOT / "build/peers" / peer
    return env / "bin/python" if (env / ".done").exists() else env / "not-installed"


@dataclasses.dataclass
class Settings:
    """How long a run may take. `rounds` of each contender, `seconds` of each measurement."""

    rounds: int = 5
    seconds: float = 6.0
    short: bool = False  # fewer things measured, too

    @classmethod
    def quick(cls) -> Settings:
        return cls(rounds=3, seconds=2.0, short=True)


@dataclasses.dataclass
class Figure:
    """One measured thing: its median over the rounds, lowest and highest."""

    median: float
    low: float
    high: float
    unit: str = ""
    note: str = ""

    @classmethod
    def of(cls, values: list[float], unit: str = "", note: str = "") -> Figure:
        return cls(statistics.median(values), min(values), max(values), unit, note)

    @classmethod
    def ratio(cls, ours: list[float], theirs: list[float], note: str = "") -> Figure:
        """Round by round, so that what disturbs one round disturbs both sides of it."""
        return cls.of([a / b for a, b in zip(ours, theirs)], "", note)


class Worker:
    """A process that answers each line with a line of JSON; between lines it sleeps."""

    def __init__(self, *command: str | pathlib.Path, env: dict | None = None) -> None:
        self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env={**os.environ, **(env or {})}, cwd=ROOT)
        self.pid = self._process.pid

    def ask(self, line: str) -> dict:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        while True:
            answer = self._process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{self._process.args[0]} ended with {self._process.wait()}")
            if answer.startswith("{"):
                return json.loads(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.stdin.close()
            self._process.wait(30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()


def run_json(*command: str | pathlib.Path) -> dict:
    """Runs a program to its end; the JSON it prints."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def null_server(*flags: str) -> Server:
    """The server with a forward pass that costs nothing."""
    return Server(BIN / "bench_null_server", pathlib.Path("/"), "--log-level", "info", *flags)


def embedd(model: pathlib.Path, *flags: str) -> Server:
    from embedd import EmbedClient

    # What the others compute in; auto may be bf16.
    server = Server(BIN / "embedd", model, "--dtype", "f32", *flags)
    with EmbedClient(server.grpc) as client:
        server.wait_ready(client)
    return server


def descendants(pid: int, deep: bool = True) -> list[int]:
    """A process and all that it started and that still run; only its children without `deep`."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        if deep or one == pid:
            for children in pathlib.Path("/proc").glob(f"{one}/task/*/children"):
                try:
                    todo += map(int, children.read_text().split())
                except OSError:  # a thread that has ended meanwhile
                    continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all that it started."""
    total, tick = 0.0, os.sysconf("SC_CLK_TCK")
    for one in descendants(pid):
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15]) / tick
    return total


def resident_bytes(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def load(target: str, seconds: float, *flags: str | pathlib.Path, warmup: float = 0, timeout: float = 60) -> dict:
    """embedctl bench against a server: its JSON. Failed calls are in it, not an error."""
    command = [BIN / "embedctl", "--target", target, "--timeout", f"{timeout}s", "bench", "--json", "--duration",
               f"{seconds}s", "--warmup", f"{warmup}s", *flags]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise RuntimeError(f"embedctl bench ended with {done.returncode}")
    return json.loads(done.stdout)


def cpu_ms_per_image(server: Server, seconds: float, *flags: str | pathlib.Path) -> float:
    """CPU milliseconds of the server per image answered under such a load."""
    before = cpu_seconds(server.pid)
    report = load(server.grpc, seconds, *flags)
    return 1e3 * (cpu_seconds(server.pid) - before) / (report["ok"] * report["images_per_call"])
