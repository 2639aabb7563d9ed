# SPDX-License-Identifier: Apache-2.0
"""Figures: the forward loop by batch beside PyTorch's own, the server beside that loop, single images, memory by batch."""

from __future__ import annotations

import json
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

    def __init__(self, run, folder, dtype: str) -> None:
        import os

        self.process = subprocess.Popen(
            [str(run.build / "bin/bench_engine"), "--model", str(folder), "--device", run.options.device, "--dtype", dtype],
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
        rows = []
        for batch in self.batches:
            if self.run.report.left() < 30:
                break
            calls = max(5, min(40, 2000 // batch)) if not self.run.cpu else 3
            engine.seconds(batch, 2)
            row = {"batch": batch, "embedd": _median_rate(engine.seconds(batch, calls), batch)}
            row["PyTorch"] = _median_rate(_torch_seconds(tower, batch, calls, False), batch)
            if not self.run.cpu:
                try:
                    row["PyTorch, CUDA graph"] = _median_rate(_torch_seconds(tower, batch, calls, True), batch)
                except RuntimeError as error:
                    row["PyTorch, CUDA graph"] = type(error).__name__
            row["embedd TFLOP/s"] = round(row["embedd"] * shape.flop / 1e12, 2)
            rows.append(row)
            # Kept after every batch: the run may be stopped.
            self.run.report.tables[f"Forward, {shape.name}, {self.dtype}: images/s"] = rows
            self.run.report.write()
        engine.close()
        del tower
        if not self.run.cpu:
            torch.cuda.empty_cache()
        require(rows, "no batch was measured")
        self.best[shape.name] = max(rows, key=lambda row: row["embedd"])
        self.run.report.picture(f"forward-{shape.name}.png", f"{shape.name}, {self.dtype}", rows, "batch",
                                ["embedd", "PyTorch", "PyTorch, CUDA graph"])
        top = self.best[shape.name]
        return f"best at batch {top['batch']}: {top['embedd']} images/s, {top['embedd TFLOP/s']} TFLOP/s; PyTorch {top['PyTorch']}"

    def served(self, shape: models.Shape, kind: str) -> str:
        """Callers of 64 images each, as fast as they are answered."""
        import checks
        from embedd import EmbedClient
        from server import Server

        folder = models.make(shape, self.run.root / "build/cuda/models")
        images = checks.pictures(64, shape.size)
        if kind == "JPEG":
            images = _jpegs(64)
        server = Server(self.run.build / "bin/embedd", folder, "--device", self.run.options.device, "--dtype", self.dtype,
                        "--max-batch", str(self.batches[-1] if not self.run.cpu else 16), "--latency-target", "0",
                        "--queue-images", "8192", "--queue-bytes", "4GiB", env=self.run.environment, start_seconds=60)
        try:
            with EmbedClient(server.grpc) as client:
                server.wait_ready(client, 120)
                client.embed_images(images)
                before, end = server.metrics(), time.monotonic() + (3 if self.run.cpu else 8)
                counts, start = [0] * (2 if self.run.cpu else 16), time.monotonic()

                def call(i):
                    with EmbedClient(server.grpc) as mine:
                        while time.monotonic() < end:
                            mine.embed_images(images)
                            counts[i] += len(images)

                threads = [threading.Thread(target=call, args=(i,)) for i in range(len(counts))]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                seconds = time.monotonic() - start
                after = server.metrics()
                memory = {f"batch {b['size']}": b["peak"] - b["before"] for b in server.batches()}
                alone = []
                for _ in range(20 if self.run.cpu else 200):
                    begun = time.perf_counter()
                    client.embed_images(images[:1])
                    alone.append(1000 * (time.perf_counter() - begun))
        finally:
            server.stop()
        busy = [after[k] - before.get(k, 0) for k in after if k.startswith("embedd_device_busy_seconds_total")]
        rate = sum(counts) / seconds
        row = {"model": shape.name, "input": kind, "images/s": round(rate, 1),
               "device idle": f"{max(0.0, 1 - sum(busy) / max(1, len(busy)) / seconds):.1%}" if busy else "",
               "p50 alone, ms": round(statistics.median(alone), 2),
               "p99 alone, ms": round(float(np.percentile(alone, 99)), 2)}
        if kind == "raw" and shape.name in self.best:
            row["of the forward loop"] = round(rate / self.best[shape.name]["embedd"], 3)
        else:
            row["of the forward loop"] = ""
        self.run.report.tables.setdefault("Served", []).append(row)
        if kind == "raw":
            self.run.report.tables[f"Memory by batch, {shape.name}"] = [
                {"batch": k.split()[1], "bytes of the batch": f"{v:,}"} for k, v in
                sorted(memory.items(), key=lambda item: int(item[0].split()[1]))][:24]
        return ", ".join(f"{k} {v}" for k, v in row.items() if v != "")


def _jpegs(n: int) -> list[bytes]:
    import io

    from PIL import Image

    rng, files = np.random.default_rng(5), []
    for _ in range(n):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=90)
        files.append(out.getvalue())
    return files


def run(r) -> None:
    figures = Figures(r)
    shapes = [models.TINY] if r.cpu else [models.B32, models.L14]
    for shape in shapes:
        r.report.step(f"forward loop, {shape.name}", lambda s=shape: figures.forward(s), needs=45 if not r.cpu else 5)
    if not (r.build / "bin/embedd").exists():
        return
    for shape in shapes:
        for kind in ("raw", "JPEG"):
            r.report.step(f"served, {shape.name}, {kind}", lambda s=shape, k=kind: figures.served(s, k), needs=25)
