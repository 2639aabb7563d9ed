# SPDX-License-Identifier: Apache-2.0
"""Figures: the forward loop by batch beside PyTorch's own, the server beside that loop, single images, memory by batch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
import time

import models
import numpy as np
import torch
from report import Failed, require


def _median_rate(seconds: list[float], batch: int) -> float:
    return round(batch / statistics.median(seconds), 1)


class Engine:
    """bench_engine, which answers "BATCH CALLS" with the seconds of each call."""

    def __init__(self, run, folder, dtype: str, *flags: str) -> None:
        self.process = subprocess.Popen(
            [str(run.build / "bin/bench_engine"), "--model", str(folder), "--device", run.options.device, "--dtype", dtype, *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **run.environment})

    def seconds(self, batch: int, calls: int) -> list[float]:
        self.process.stdin.write(f"{batch} {calls}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"bench_engine ended at batch {batch} with {self.process.wait()}")
        return json.loads(line)["seconds"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def _torch_seconds(tower: models.Tower, batch: int, calls: int, graph: bool) -> list[float]:
    """From bytes on the host to vectors on the host, as the engine is measured."""
    size, cuda = tower.shape.size, tower.device != "cpu"
    host = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    if cuda:
        host = host.pin_memory()
    pixels, run = host.to(tower.device), None
    with torch.inference_mode():
        if graph:
            for _ in range(3):
                tower.forward(pixels)
            torch.cuda.synchronize()
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                rows = tower.forward(pixels)

            def run():
                pixels.copy_(host, non_blocking=True)
                captured.replay()
                return rows.cpu()
        else:
            def run():
                return tower.forward(host.to(tower.device, non_blocking=True)).cpu()

        seconds = []
        for i in range(calls + 2):
            start = time.perf_counter()
            run()
            if i >= 2:
                seconds.append(time.perf_counter() - start)
    return seconds


class Figures:
    def __init__(self, run) -> None:
        self.run = run
        self.dtype = "f32" if run.cpu else "f16"
        self.torch_dtype = torch.float32 if run.cpu else torch.float16
        self.batches = [1, 8] if run.cpu else [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
        self.best = {}

    def forward(self, shape: models.Shape) -> str:
        folder = models.make(shape, self.run.root / "build/cuda/models")
        tower = models.Tower(shape, folder, self.run.options.device, self.torch_dtype)
        engine = Engine(self.run, folder, self.dtype)
        pipeline = None if self.run.cpu else Engine(self.run, folder, self.dtype, "--cuda-pipeline", "graphs")
        rows = []
        for batch in self.batches:
            if self.run.report.left() < 30:
                break
            calls = max(5, min(40, 2000 // batch)) if not self.run.cpu else 3
            engine.seconds(batch, 2)
            row = {"batch": batch, "embedd": _median_rate(engine.seconds(batch, calls), batch)}
            if pipeline is not None:
                pipeline.seconds(batch, 2)
                row["embedd, pipeline"] = _median_rate(pipeline.seconds(batch, calls), batch)
            row["PyTorch"] = _median_rate(_torch_seconds(tower, batch, calls, False), batch)
            if not self.run.cpu:
                try:
                    row["PyTorch, graph"] = _median_rate(_torch_seconds(tower, batch, calls, True), batch)
                except RuntimeError as error:
                    row["PyTorch, graph"] = type(error).__name__
            row["embedd TFLOP/s"] = round(row["embedd"] * shape.flop / 1e12, 2)
            rows.append(row)
            # Kept after every batch: the run may be stopped.
            self.run.report.tables[f"Forward, {shape.name}, {self.dtype}: images/s"] = rows
            self.run.report.write()
        engine.close()
        if pipeline is not None:
            pipeline.close()
        del tower
        if not self.run.cpu:
            torch.cuda.empty_cache()
        require(rows, "no batch was measured")
        self.best[shape.name] = max(rows, key=lambda row: row["embedd"])
        self.run.report.picture(f"forward-{shape.name}.png", f"{shape.name}, {self.dtype}", rows, "batch",
                                ["embedd", "embedd, pipeline", "PyTorch", "PyTorch, graph"])
        top = self.best[shape.name]
        return f"best at batch {top['batch']}: {top['embedd']} images/s, {top['embedd TFLOP/s']} TFLOP/s; PyTorch {top['PyTorch']}"

    def served(self, shape: models.Shape, kind: str, *flags: str) -> str:
        """The whole server as callers of 64 images each keep it busy, then one caller of one image."""
        from embedd import EmbedClient
        from server import Server

        folder = models.make(shape, self.run.root / "build/cuda/models")
        call = ["--model", str(folder), "--rounds", "1"]
        if kind == "JPEG":
            picture = self.run.report.out / "picture.jpg"
            picture.write_bytes(_jpeg())
            call += ["--file", str(picture)]
        cpu = self.run.cpu
        server = Server(self.run.build / "bin/embedd", folder, "--device", self.run.options.device, "--dtype", self.dtype,
                        "--max-batch", str(16 if cpu else max(self.batches)), "--latency-target", "0",
                        "--queue-images", "8192", "--queue-bytes", "4GiB", *flags, env=self.run.environment, start_seconds=60)
        try:
            with EmbedClient(server.grpc) as client:
                server.wait_ready(client, 120)
            self._call(call, server.grpc, callers=2, images=64, seconds=1)
            idle = _Idle(server, cpu)
            idle.start()
            crowd = self._call(call, server.grpc, callers=2 if cpu else 16, images=64, seconds=2 if cpu else 5)
            idle.join()
            batches = server.batches()
            alone = self._call(call, server.grpc, callers=1, images=1, seconds=1 if cpu else 2)
        finally:
            server.stop()
        kept = sum(b["after"] > b["before"] for b in batches)
        rate = crowd["images_per_second"][0]
        best = self.best.get(shape.name, {}).get("embedd") if kind == "raw" else None
        row = {"model": shape.name, "input": " ".join((kind, *flags)), "images/s": round(rate, 1),
               "of the forward loop": round(rate / best, 3) if best else "",
               "device idle": f"{idle.share:.1%}",
               "images a batch": round(statistics.mean(b["size"] for b in batches), 1), "batches that kept memory": kept,
               "p50 alone, ms": round(alone["median_ms"][0], 2), "p99 alone, ms": round(alone["p99_ms"][0], 2)}
        self.run.report.tables.setdefault("Served", []).append(row)
        if kind == "raw" and not flags:
            memory = {b["size"]: b["peak"] - b["before"] for b in batches}
            self.run.report.tables[f"Memory by batch, {shape.name}"] = [
                {"batch": size, "bytes of the batch": f"{memory[size]:,}"} for size in sorted(memory)][:24]
        require(kept == 0, f"{kept} batches kept memory")
        return ", ".join(f"{k} {v}" for k, v in row.items() if v != "")

    def _call(self, call: list[str], target: str, callers: int, images: int, seconds: float) -> dict:
        """bench_served's figures of callers that the server would not outrun."""
        done = subprocess.run(
            [str(self.run.build / "bin/bench_served"), *call, "--target", target, "--callers", str(callers), "--images",
             str(images), "--seconds", str(seconds)], capture_output=True, text=True, timeout=120,
            env={**os.environ, **self.run.environment})
        require(done.returncode == 0, f"bench_served: {done.stderr[-500:]}")
        return json.loads(done.stdout)["served"]


class _Idle(threading.Thread):
    """The share of two seconds in the middle of a load in which the device thread waited."""

    share = float("nan")

    def __init__(self, server, cpu: bool) -> None:
        super().__init__()
        self.server, self.seconds = server, 0.5 if cpu else 2.0

    def _busy(self) -> tuple[float, float]:
        series = self.server.metrics()
        return time.monotonic(), sum(v for k, v in series.items() if k.startswith("embedd_device_busy_seconds_total"))

    def run(self) -> None:
        start, end = self._busy()[1], time.monotonic() + 20
        while self._busy()[1] == start and time.monotonic() < end:  # the callers have not begun
            time.sleep(0.05)
        time.sleep(self.seconds / 2)
        began, before = self._busy()
        time.sleep(self.seconds)
        ended, after = self._busy()
        self.share = max(0.0, 1 - (after - before) / (ended - began))


def _jpeg() -> bytes:
    """500 x 375, as photographs in collections are."""
    import io

    from PIL import Image

    small = Image.fromarray(np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=90)
    return out.getvalue()


def run(r) -> None:
    figures = Figures(r)
    shapes = [models.TINY] if r.cpu else [models.B32, models.L14]
    for shape in shapes:
        r.report.step(f"forward loop, {shape.name}", lambda s=shape: figures.forward(s), needs=45 if not r.cpu else 5)
    if not (r.build / "bin/bench_served").exists():
        return
    kinds = [("raw",), ("JPEG",)] if r.cpu else [("raw",), ("raw", "--cuda-pipeline", "graphs"), ("JPEG",)]
    for shape in shapes:
        for kind in kinds:
            r.report.step(f"served, {shape.name}, {' '.join(kind)}", lambda s=shape, k=kind: figures.served(s, *k), needs=20)
