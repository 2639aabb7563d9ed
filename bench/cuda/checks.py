# SPDX-License-Identifier: Apache-2.0
"""Checks of the whole server on the real device, through its own doors."""

from __future__ import annotations

import contextlib
import re
import time

import models
import numpy as np
from report import Skipped, require


def pictures(n: int, size: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8))


class Checks:
    def __init__(self, run) -> None:
        self.run = run
        self.shape = models.TINY if run.cpu else models.B32
        self.folder = models.make(self.shape, run.root / "build/cuda/models")
        self.images = pictures(64, self.shape.size)
        self.truth = None

    @contextlib.contextmanager
    def server(self, *flags: str, device: str | None = None, graphs_needed: bool = True):
        """A server and a client of it."""
        from embedd import EmbedClient
        from server import Server

        server = Server(self.run.build / "bin/embedd", self.folder, "--device", device or self.run.options.device, *flags,
                        env=self.run.environment, start_seconds=60)
        try:
            with EmbedClient(server.grpc) as client:
                server.wait_ready(client, 120)
                yield server, client
            require(server.stop() == 0, "the server did not end with 0:\n" + "\n".join(server.log[-5:]))
            if graphs_needed and "graphs" in flags and not self.run.cpu:
                require(any("graphs of small batches were recorded" in line for line in server.log),
                        "no graphs:\n" + "\n".join(line for line in server.log if "graph" in line))
        finally:
            server.stop()
            self.run.report.keep_log(" ".join(("embedd", *flags)), "\n".join(server.log))

    def on_cpu(self) -> str:
        with self.server("--dtype", "f32", device="cpu") as (_, client):
            self.truth = client.embed_images(self.images)
        return ""

    def parity(self, *all_flags: tuple[str, ...]) -> str:
        """Unit vectors against f32 on the cpu. f16 and bf16 round each product: the bounds are those of their mantissas."""
        told, wrong = [], []
        for flags in all_flags:
            bound = {"f32": 1e-5, "f16": 5e-3, "bf16": 4e-2}[flags[0]]
            # With many images, which may go in several parts.
            with self.server("--dtype", *flags, "--max-batch", "512", "--latency-target", "0") as (_, client):
                got = [client.embed_images(self.images[:n]) for n in (64, 1, 7)]
                many = client.embed_images(self.images * (2 if self.run.cpu else 6))
                got += [many[k : k + 64] for k in range(0, len(many), 64)]
            worst = max(float(np.abs(rows - self.truth[: len(rows)]).max()) for rows in got)
            told.append(f"{' '.join(flags)} {worst:.1e}")
            if not worst <= bound:  # also for NaN
                wrong.append(f"{told[-1]}, bound {bound}")
        require(not wrong, f"largest differences: {'; '.join(wrong)}; all: {', '.join(told)}")
        return ", ".join(told)

    def memory(self, batches: int, *flags: str, bound: float) -> str:
        """Calls of random sizes: every batch gives back what it took, and no vector is wrong."""
        rng = np.random.default_rng(3)
        with self.server(*flags) as (server, client):
            sizes = rng.integers(1, 65, batches)
            wrong = 0
            deadline = time.monotonic() + min(40, self.run.report.left() - 10)
            done = 0
            for size in sizes:
                if time.monotonic() > deadline:
                    break
                start = int(rng.integers(0, 64))
                part = [self.images[(start + k) % 64] for k in range(size)]
                got = client.embed_images(part)
                expected = self.truth[[(start + k) % 64 for k in range(size)]]
                wrong += int(np.abs(got - expected).max() > bound)
                done += 1
            series = server.metrics()
            # The records are of the last 1,024 batches, the log is of all.
            kept = [b["id"] for b in server.batches() if b["after"] > b["before"]]
            kept += [line for line in server.log if "did not give all of its memory back" in line]
            unreleased = sum(v for k, v in series.items() if k.startswith("embedd_batch_unreleased_bytes"))
            ran = sum(v for k, v in series.items() if k.startswith("embedd_batch_size_count"))
        require(not kept and unreleased == 0, f"batches that kept memory: {kept[:5]}, {unreleased} bytes")
        require(wrong == 0, f"{wrong} calls with a wrong vector")
        return f"{done} calls, {ran:.0f} batches, 0 bytes kept, 0 wrong"

    def out_of_memory(self, *flags: str) -> str:
        """A limit that the weights fit and a batch of 64 does not: smaller batches, nothing lost, order kept."""
        flags = ("--dtype", "f32", "--latency-target", "0", *flags)
        with self.server(*flags) as (server, client):
            for _ in range(3):
                client.embed_images(self.images)
            memory = client.server_info().memory
            rest, held = memory.baseline_bytes, memory.reserved_bytes
            needs = max(b["peak"] - b["before"] for b in server.batches())
        # A card's allocator takes pieces of 20 MiB and rounds: what it holds for the weights is more than they are.
        limit = rest + needs // 2 + (0 if self.run.cpu else rest // 8 + needs // 2 * ("graphs" in flags))
        with self.server(*flags, "--memory-limit", str(limit), graphs_needed=False) as (server, client):
            for _ in range(5):
                got = client.embed_images(self.images)
                require(np.abs(got - self.truth).max() <= 1e-5, "a vector is wrong or in the wrong place")
            series = server.metrics()
            peak = max(v for k, v in series.items() if k.startswith("embedd_device_memory_bytes") and "peak" in k)
            splits = sum(v for k, v in series.items() if k.startswith("embedd_device_oom_total") and "split" in k)
            cap = client.server_info().batching.cap
            reserved = client.server_info().memory.reserved_bytes
        require(peak <= limit, f"peak {peak} above the limit {limit}")
        require(reserved <= limit, f"{reserved} held, above the limit {limit}")
        require(splits > 0 or cap < 64, f"the limit was never felt: {limit}, at rest {rest}, held {held}, a batch of 64 {needs}")
        return f"limit {limit >> 20} MiB, {splits:.0f} splits, cap {cap}, peak {int(peak) >> 20} MiB, nothing lost"

    def offload(self, *flags: str) -> str:
        with self.server("--dtype", "f32", "--idle-offload", "1s", *flags) as (_, client):
            before = client.embed_images(self.images[:8])
            rest = client.server_info().memory.allocated_bytes
            end = time.monotonic() + 30
            while client.server_info().state != client.server_info().OFFLOADED:
                require(time.monotonic() < end, "the weights did not leave within 30 s")
                time.sleep(0.2)
            time.sleep(0.5)  # until the counters are told again
            memory = client.server_info().memory
            away, held = memory.allocated_bytes, memory.reserved_bytes
            after = client.embed_images(self.images[:8])
            back = client.server_info().memory.allocated_bytes
        # cuBLAS's workspace and recorded graphs leave too.
        require(away <= rest // 100 and held <= max(rest // 50, 4 << 20), f"{away} bytes of {rest} stayed, {held} held")
        # Eight images may come in one batch or in two, whose products round differently.
        worst = float(np.abs(before - after).max())
        require(worst <= 1e-5, f"other vectors after coming back: {worst:.1e}")
        require(back == rest, f"{rest} bytes before, {back} after coming back")
        return f"{rest >> 20} MiB, {away >> 10} KiB offloaded ({held >> 10} held), {back >> 20} MiB back, largest difference {worst:.1e}"

    def two_servers(self) -> str:
        with self.server("--dtype", "f32") as (_, a), self.server("--dtype", "f32") as (_, b):
            worst = max(float(np.abs(c.embed_images(self.images) - self.truth).max()) for c in (a, b, a, b))
        require(worst <= 1e-5, f"difference {worst:.1e}")
        return f"largest difference {worst:.1e}"

    def too_small(self) -> str:
        """A limit below the model: a clear end, not a crash."""
        from server import Server

        try:
            Server(self.run.build / "bin/embedd", self.folder, "--device", self.run.options.device, "--memory-limit", "1MiB",
                   env=self.run.environment, start_seconds=60)
        except RuntimeError as why:
            text = str(why)
        else:
            server = Server(self.run.build / "bin/embedd", self.folder, "--device", self.run.options.device, "--memory-limit",
                            "1MiB", env=self.run.environment)
            end = time.monotonic() + 60
            while server.alive() and time.monotonic() < end:
                time.sleep(0.1)
            require(not server.alive(), "the server lives on without a model")
            text = "\n".join(server.log)
        require(re.search("memory", text), f"no word about memory:\n{text[-500:]}")
        return [line for line in text.splitlines() if "memory" in line][-1][:200]

    def several(self) -> str:
        import torch

        devices = "cpu,cpu"
        if not self.run.cpu:
            if torch.cuda.device_count() < 2:
                raise Skipped("one card here")
            devices = "cuda:0,cuda:1"
        with self.server("--dtype", "f32", device=devices) as (server, client):
            worst = float(np.abs(client.embed_images(self.images * 8) - np.tile(self.truth, (8, 1))).max())
            used = {b.get("device") for b in server.batches()}
        require(worst <= 1e-5, f"difference {worst:.1e}")
        return f"{devices}: batches on {sorted(map(str, used))}, largest difference {worst:.1e}"


def mended(r) -> Checks | None:
    """What a card has not passed yet."""
    step = r.report.step
    graphs = ("--cuda-pipeline", "graphs")
    made = []
    if not step("the model", lambda: made.append(Checks(r)) or f"{made[0].shape.name}, random weights"):
        return None
    checks = made[0]
    if not step("the vectors, of the cpu", lambda: checks.on_cpu(), needs=15):
        return None
    for flags in ((), graphs):
        step(" ".join(("offload and reload", *flags)), lambda f=flags: checks.offload(*f), needs=15)
        step(" ".join(("out of memory at a limit", *flags)), lambda f=flags: checks.out_of_memory(*f), needs=15)
    step("vectors with graphs", lambda: checks.parity(("f16", *graphs), ("f32", *graphs)), needs=20)
    step("memory of 500 batches with graphs",
         lambda: checks.memory(100 if r.cpu else 500, "--dtype", "f32", *graphs, bound=1e-5), needs=15)
    return checks


def held(r, checks: Checks) -> None:
    """What held in an earlier run."""
    step = r.report.step
    step("vectors", lambda: checks.parity(("f32",), ("f16",), ("bf16",)), needs=25)
    step("memory of 2,000 batches", lambda: checks.memory(300 if r.cpu else 2000, "--dtype", "f32", bound=1e-5), needs=30)
    step("a limit below the model", lambda: checks.too_small(), needs=10)
    step("two servers on one device", lambda: checks.two_servers(), needs=20)
    step("several devices", lambda: checks.several(), needs=20)
