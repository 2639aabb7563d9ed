# SPDX-License-Identifier: Apache-2.0
"""Two servers against one, and a slow one beside a quick one, through each way that docs/deploy shows.

The device is a mock: a batch takes a fixed time and no processor, so that two servers, a proxy and a client fit on two cores
and what is measured is how the calls are spread. Prints the table of docs/scale.md.
"""

from __future__ import annotations

import pathlib
import sys
import time

import numpy as np

from .common import BIN, ROOT, Figure, Settings, cpu_seconds

sys.path[:0] = [str(ROOT / "tests/scale"), str(ROOT / "tests/python")]

BATCH_MS = 80.0
SLOWER = 5
# As many as a batch holds: each call is one batch.
IMAGES_A_CALL = 64
_PICTURE = np.zeros((64, 64, 3), np.uint8)


def _rate(client, seconds: float) -> float:
    """Images a second of one job that goes on for about `seconds`, from its first image to its last vector."""
    start = time.monotonic()
    count = 0

    def source():
        nonlocal count
        while time.monotonic() - start < seconds:
            count += 1
            yield _PICTURE

    vectors = client.embed_images(source(), batch_size=IMAGES_A_CALL)
    assert len(vectors) == count
    return count / (time.monotonic() - start)


class _Servers:
    """Null servers on one port of 127.0.0.2 and on, as `Replicas` of tests/scale has them."""

    def __init__(self, names, batch_ms) -> None:
        from replicas import Replica, free_ports

        self.port, self.pages_port = free_ports(2)
        self.all = [Replica(f"127.0.0.{2 + number}", self.port, self.pages_port) for number in range(len(batch_ms))]
        for one, each in zip(self.all, batch_ms):
            one.start("--latency-target", "off", program=BIN / "bench_null_server", environment={"BENCH_BATCH_MS": str(each)})
        names.addresses = [one.host for one in self.all]

    def __iter__(self):
        return iter(self.all)

    def answered(self) -> list[float]:
        return [one.answered() for one in self.all]

    def close(self) -> None:
        for one in self.all:
            one.kill()


def run(settings: Settings) -> dict[str, Figure]:
    import ways
    from dns_server import DnsServer, asked_here
    from embedd import EmbedClient

    seconds = max(8.0, 2.5 * settings.seconds)
    rounds = 1 if settings.short else 2
    here = {name: way for name, way in ways.WAYS.items() if not way.missing()}
    for name, way in ways.WAYS.items():
        if way.missing():
            print(f"  {way.missing()}", flush=True)
    rates: dict[str, list[float]] = {}
    shares: dict[str, str] = {}
    proxy_cpu: dict[str, list[float]] = {}
    with DnsServer() as names, asked_here(names):
        for case, batch_ms in (("equal", (BATCH_MS, BATCH_MS)), ("unequal", (BATCH_MS, BATCH_MS * SLOWER))):
            # The beginning and the end of a job, when the slow server still has calls and the quick one none, are not to be
            # half of it.
            long = seconds if case == "equal" else 3 * seconds
            servers = _Servers(names, batch_ms)
            folder = pathlib.Path(ROOT / "build/bench" / f"scale-{case}")
            opened = {}
            try:
                for name, way in here.items():
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    opened[name] = way(servers, names, folder / name)
                    opened[name].expect_all()
                for _ in range(rounds):
                    for number, one in enumerate(servers):
                        with EmbedClient(one.target) as client:
                            rates.setdefault(f"{case}/alone{number}", []).append(_rate(client, long / 2))
                    for name, way in opened.items():
                        before, start = servers.answered(), cpu_seconds(way.process.pid) if hasattr(way, "process") else 0.0
                        with way.client() as client:
                            rates.setdefault(f"{case}/{name}", []).append(_rate(client, long))
                        got = [now - had for now, had in zip(servers.answered(), before)]
                        shares[f"{case}/{name}"] = " : ".join(f"{100 * one / sum(got):.0f} %" for one in got)
                        if hasattr(way, "process"):
                            spent = 1e6 * (cpu_seconds(way.process.pid) - start) / sum(got)
                            proxy_cpu.setdefault(name, []).append(spent)
            finally:
                for way in opened.values():
                    way.close()
                servers.close()
    figures = {}
    for name in here:
        one = [(a + b) / 2 for a, b in zip(rates["equal/alone0"], rates["equal/alone1"])]
        both = [a + b for a, b in zip(rates["unequal/alone0"], rates["unequal/alone1"])]
        figures[f"two_{name}"] = Figure.ratio(rates[f"equal/{name}"], one, f"two equal servers against one; {shares[f'equal/{name}']}")
        figures[f"slow_{name}"] = Figure.ratio(rates[f"unequal/{name}"], both,
                                               f"one at a fifth of its speed, against the sum of both; {shares[f'unequal/{name}']}")
        if name in proxy_cpu:
            figures[f"cpu_{name}"] = Figure.of(proxy_cpu[name], "us", "processor time of the proxy per image of 12 kB")
        figures[f"rate_{name}"] = Figure.of(rates[f"equal/{name}"], "images/s", f"two servers of {1e3 * IMAGES_A_CALL / BATCH_MS:.0f}")
    print(_table(here, figures), flush=True)
    return figures


def _table(here: dict, figures: dict[str, Figure]) -> str:
    lines = ["  | way | two equal servers, of one | one at a fifth: of the sum | proxy CPU per image |", "  |---|---|---|---|"]
    for name in here:
        cpu = figures.get(f"cpu_{name}")
        lines.append(f"  | {name} | {figures[f'two_{name}'].median:.2f} × | {figures[f'slow_{name}'].median:.2f} | "
                     + (f"{cpu.median:.0f} µs |" if cpu else "– |"))
    return "\n".join(lines)

