# SPDX-License-Identifier: Apache-2.0
"""Figures: the forward loop by batch beside PyTorch's own, the server beside that loop, single images, memory by batch, and
where the time of a batch goes.

The goal (docs/performance.md): of raw pixels in f16 the server reaches 0.9 of the loop at the loop's best batch, the device
waits less than 3 % of the time, and no batch keeps memory. Loop and server take turns, round by round, in the same number
format, with the same --cuda-pipeline and the same largest batch; both start from bytes on the host and end with vectors there.
"""

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
from report import Failed, Skipped, require

PIPELINES = ("off", "graphs")
_ENOUGH, _MOST_IDLE = 0.9, 0.03


def _median_rate(seconds: list[float], batch: int) -> float:
    return round(batch / statistics.median(seconds), 1)


class Engine:
    """bench_engine: a line in, a line of JSON out."""

    def __init__(self, run, folder, dtype: str, pipeline: str) -> None:
        self.log = run.log(f"bench_engine-{folder.name}-{pipeline}")
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [str(run.build / "bin/bench_engine"), "--model", str(folder), "--device", run.options.device, "--dtype", dtype,
                 "--cuda-pipeline", pipeline],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, env={**os.environ, **run.environment})

    def ask(self, question: str) -> dict:
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"bench_engine ended at {question!r} with {self.process.wait()}:\n{self.log.read_text()[-500:]}")
        return json.loads(line)

    def seconds(self, batch: int, calls: int) -> list[float]:
        return self.ask(f"{batch} {calls}")["seconds"]

    def told(self) -> str:
        """What it logged, which is little: warnings."""
        return self.log.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _torch_seconds(tower: models.Tower, batch: int, calls: int, graph: bool) -> list[float]:
    """From pinned bytes on the host to vectors on the host; the engine also gathers its bytes, image by image."""
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
        # What a run that is cut off needs most comes first.
        self.batches = [8, 1] if run.cpu else [256, 512, 128, 1, 64, 32, 8, 16, 4, 2]
        self.engines = {}  # by pipeline, of the shape at hand
        self.best = {}     # by shape and pipeline: batch and images/s

    def folder(self, shape: models.Shape):
        return models.make(shape, self.run.root / "build/cuda/models")

    def forward(self, shape: models.Shape, seconds: float) -> str:
        """The loop, batch by batch, each way in turn. Ends after so many seconds with what it has."""
        report, end = self.run.report, time.monotonic() + seconds
        self.close()
        self.engines = {p: Engine(self.run, self.folder(shape), self.dtype, p) for p in PIPELINES}
        tower = models.Tower(shape, self.folder(shape), self.run.options.device, self.torch_dtype)
        rows = []
        for batch in self.batches:
            if rows and time.monotonic() > end or report.left() < 20:
                break
            calls = 3 if self.run.cpu else max(5, min(40, 2000 // batch))
            row = {"batch": batch}
            taken = {p: [] for p in PIPELINES}
            for p in PIPELINES:
                self.engines[p].seconds(batch, 2)
            for _ in range(2):
                for p in PIPELINES:
                    taken[p] += self.engines[p].seconds(batch, (calls + 1) // 2)
            for p in PIPELINES:
                rate = _median_rate(taken[p], batch)
                row[p] = rate
                if rate > self.best.get((shape.name, p), (0, 0))[1]:
                    self.best[shape.name, p] = (batch, rate)
            # Kept after every batch: the run may be stopped.
            rows.append(row)
            report.tables[f"Forward loop, {shape.name}, {self.dtype}: images/s"] = sorted(rows, key=lambda r: r["batch"])
            for name, graph in (("PyTorch", False), ("PyTorch, graph", True)):
                if graph and self.run.cpu:
                    continue
                try:
                    row[name] = _median_rate(_torch_seconds(tower, batch, calls, graph), batch)
                except RuntimeError as error:  # out of memory, on a small card
                    row[name] = type(error).__name__
                if not self.run.cpu:
                    torch.cuda.empty_cache()
            row["TFLOP/s"] = round(max(row[p] for p in PIPELINES) * shape.flop / 1e12, 2)
            report.write()
        require(rows, "no batch was measured")
        require("no graphs" not in self.engines["graphs"].told(), self.engines["graphs"].told()[-500:])
        best = {p: self.best[shape.name, p] for p in PIPELINES}
        top = max((r["PyTorch"] for r in rows if isinstance(r.get("PyTorch"), float)), default="")
        return ", ".join(f"{p}: {rate} images/s at batch {batch}" for p, (batch, rate) in best.items()) + f", PyTorch {top}"

    def profile(self, shape: models.Shape) -> str:
        """Where the time of a call of the loop goes, by LibTorch's profiler, which itself takes some of it."""
        rows, kernels = [], []
        for p in PIPELINES:
            for batch in (self.best[shape.name, p][0], 1):
                told = self.engines[p].ask(f"profile {batch} 3")
                call = sorted(told["calls"], key=lambda c: c["wall_ms"])[len(told["calls"]) // 2]
                rows.append({"pipeline": p, "batch": batch, **call})
                kernels += [{"pipeline": p, "batch": batch, "what": name[:90], "ms a call": ms, "times": times}
                            for name, ms, times in told["top"]]
        self.run.report.tables[f"Where the time goes, {shape.name}, loop"] = rows
        self.run.report.tables[f"What takes it, {shape.name}, loop"] = kernels
        require(self.run.cpu or any(row["kernels_ms"] > 0 for row in rows), "the profiler saw no kernel")
        return "; ".join(f"{r['pipeline']} at {r['batch']}: wall {r['wall_ms']} ms, device busy {r['busy_ms']} ms" for r in rows)

    def served(self, shape: models.Shape, kind: str, pipeline: str) -> str:
        """The whole server as callers of 64 images each keep it busy, in turn with the loop; then one caller of one image."""
        from embedd import EmbedClient
        from server import Server

        run, cpu = self.run, self.run.cpu
        if not (run.build / "bin/bench_served").exists():
            raise Skipped("the server was not built")
        batch, _ = self.best.get((shape.name, pipeline), (16 if cpu else 512, 0))
        call = ["--model", str(self.folder(shape)), "--rounds", "1"]
        if kind == "JPEG":
            picture = run.root / "build/cuda/picture.jpg"
            picture.write_bytes(_jpeg())
            call += ["--file", str(picture)]
        # Without the loop, where it failed.
        engine = self.engines.get(pipeline) if kind == "raw" and (shape.name, pipeline) in self.best else None
        server = Server(run.build / "bin/embedd", self.folder(shape), "--device", run.options.device, "--dtype", self.dtype,
                        "--cuda-pipeline", pipeline, "--max-batch", str(batch), "--latency-target", "0",
                        "--queue-images", "8192", "--queue-bytes", "4GiB", env=run.environment, start_seconds=60)
        rounds = []
        try:
            with EmbedClient(server.grpc) as client:
                server.wait_ready(client, 120)
            self._call(call, server.grpc, callers=2 if cpu else 8, images=64, seconds=1)
            for _ in range(2 if cpu else 3):
                loop = _median_rate(engine.seconds(batch, 3 if cpu else max(5, 1500 // batch)), batch) if engine else 0
                watch = _Watch(server, cpu)
                watch.start()
                crowd = self._call(call, server.grpc, callers=2 if cpu else 32, images=64, seconds=1.5 if cpu else 2.5)
                watch.join()
                rounds.append({"loop": loop, "served": crowd["images_per_second"][0], **watch.seen})
            batches = server.batches()
            alone = self._call(call, server.grpc, callers=1, images=1, seconds=1 if cpu else 1.5)
            unreleased = sum(v for k, v in server.metrics().items() if k.startswith("embedd_batch_unreleased_bytes"))
        finally:
            server.stop()
            run.report.keep_log(f"embedd, {shape.name}, {kind}, {pipeline}", "\n".join(server.log))
        # The records are of the last 1,024 batches, the log is of all.
        kept = max(sum(b["after"] > b["before"] for b in batches),
                   sum("did not give all of its memory back" in line for line in server.log))

        def median(key: str, digits: int = 2):
            values = [r[key] for r in rounds if r.get(key) is not None]
            return round(statistics.median(values), digits) if values else ""

        ratio = statistics.median(r["served"] / r["loop"] for r in rounds) if engine else None
        row = {"model": shape.name, "input": kind, "pipeline": pipeline, "largest batch": batch, "images/s": median("served", 1),
               "loop, same turns": median("loop", 1) if engine else "", "of the loop": round(ratio, 3) if engine else "",
               "images a batch": median("images a batch", 1), "device waits": f"{median('device waits', 4):.1%}",
               "p50 alone, ms": round(alone["median_ms"][0], 2), "p99 alone, ms": round(alone["p99_ms"][0], 2),
               "batches that kept memory": kept}
        tables = run.report.tables
        tables.setdefault("Served", []).append(row)
        # What explains a goal that is missed.
        tables.setdefault("Served, what a batch goes through", []).append(
            {"model": shape.name, "input": kind, "pipeline": pipeline,
             **{key: median(key) for key in ("batches/s", "execute ms", "loop's ms", "between batches ms", "in the queue ms",
                                             "reply ms a call", "server's cores", "machine's cores", "GPU busy %", "SM MHz", "W")},
             "rounds": "; ".join(f"{r['served']:.0f}/{r['loop']:.0f}" for r in rounds)})
        if engine:
            tables["Served, what a batch goes through"][-1]["loop's ms"] = round(1000 * batch / median("loop"), 2)
            name = f"{shape.name}, {self.dtype}, raw, --cuda-pipeline {pipeline}"
            run.report.goal(f"{name}: served / loop at its best batch ({batch})", f">= {_ENOUGH}", f"{ratio:.3f}", ratio >= _ENOUGH)
            waits = median("device waits", 4)
            run.report.goal(f"{name}: device waits", f"< {_MOST_IDLE:.0%}", f"{waits:.1%}", waits < _MOST_IDLE)
            run.report.goal(f"{name}: bytes that batches kept", "0", f"{unreleased:.0f}, {kept} batches", kept == 0 and unreleased == 0)
            memory = {b["size"]: b["peak"] - b["before"] for b in batches}
            tables[f"Memory by batch, {shape.name}, {pipeline}"] = [
                {"batch": size, "bytes of the batch": f"{memory[size]:,}"} for size in sorted(memory)][-24:]
        require(kept == 0, f"{kept} batches kept memory")
        return ", ".join(f"{k} {v}" for k, v in row.items() if v != "")

    def _call(self, call: list[str], target: str, callers: int, images: int, seconds: float) -> dict:
        """bench_served's figures of callers that the server would not outrun."""
        done = subprocess.run(
            [str(self.run.build / "bin/bench_served"), *call, "--target", target, "--callers", str(callers), "--images",
             str(images), "--seconds", str(seconds)], capture_output=True, text=True, timeout=60,
            env={**os.environ, **self.run.environment})
        require(done.returncode == 0, f"bench_served: {done.stderr[-500:]}")
        return json.loads(done.stdout)["served"]

    def close(self) -> None:
        for pipeline, engine in self.engines.items():
            engine.close()
            self.run.report.keep_log(f"bench_engine {pipeline}", engine.told())
        self.engines = {}

    def pictures(self) -> str:
        for shape in shapes(self.run):
            rows = self.run.report.tables.get(f"Forward loop, {shape.name}, {self.dtype}: images/s", [])
            if rows:
                self.run.report.picture(f"forward-{shape.name}.png", f"{shape.name}, {self.dtype}", rows, "batch",
                                        [*PIPELINES, "PyTorch", "PyTorch, graph"])
        return ""


class _Watch(threading.Thread):
    """The middle of a load: what the device's thread, the stages, the processors and the card did."""

    def __init__(self, server, cpu: bool) -> None:
        super().__init__(daemon=True)
        self.server, self.seconds, self.cpu = server, 0.5 if cpu else 1.2, cpu
        self.seen = {}

    def _read(self) -> dict:
        series = self.server.metrics()
        now = {"at": time.monotonic()}
        for name in ("embedd_device_busy_seconds_total", "embedd_batch_size_sum", "embedd_batch_size_count"):
            now[name] = sum(v for k, v in series.items() if k.startswith(name))
        for stage in ("queue", "execute", "reply"):
            for part in ("sum", "count"):
                now[f"{stage} {part}"] = sum(v for k, v in series.items()
                                             if k.startswith(f"embedd_stage_seconds_{part}") and f'"{stage}"' in k)
        now["server"], now["machine"] = _cpu_seconds(f"/proc/{self.server.pid}/stat"), _machine_cpu_seconds()
        return now

    def run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # a figure less, not a run less
            self.seen["error"] = str(error)

    def _watch(self) -> None:
        start, end = self._read()["embedd_batch_size_count"], time.monotonic() + 20
        while self._read()["embedd_batch_size_count"] < start + 3 and time.monotonic() < end:  # the callers have not begun
            time.sleep(0.05)
        time.sleep(self.seconds / 4)
        card = None if self.cpu else _card(self.seconds)
        before = self._read()
        time.sleep(self.seconds)
        after = self._read()
        d = {key: after[key] - before[key] for key in before}
        batches = max(1, d["embedd_batch_size_count"])
        waits = max(0.0, 1 - d["embedd_device_busy_seconds_total"] / d["at"])
        execute = d["execute sum"] / max(1, d["execute count"])
        self.seen = {"device waits": waits, "batches/s": batches / d["at"],
                     "images a batch": d["embedd_batch_size_sum"] / batches, "execute ms": 1000 * execute,
                     "between batches ms": 1000 * (d["at"] / batches - execute),
                     "in the queue ms": 1000 * d["queue sum"] / max(1, d["queue count"]),
                     "reply ms a call": 1000 * d["reply sum"] / max(1, d["reply count"]),
                     "server's cores": d["server"] / d["at"], "machine's cores": d["machine"] / d["at"]}
        if card is not None:
            text = card.communicate(timeout=10)[0]
            lines = [line.split(",") for line in text.splitlines() if line.count(",") == 2]
            for i, key in enumerate(("GPU busy %", "SM MHz", "W")):
                values = [float(line[i]) for line in lines if line[i].strip().replace(".", "").isdigit()]
                self.seen[key] = statistics.median(values) if values else None


def _card(seconds: float):
    """nvidia-smi's own view, if it has one (a slice of a card has none); its sampling is coarse."""
    try:
        return subprocess.Popen(
            ["timeout", str(seconds), "nvidia-smi", "--query-gpu=utilization.gpu,clocks.sm,power.draw", "-lms", "200",
             "--format=csv,noheader,nounits"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None


def _cpu_seconds(stat: str) -> float:
    with open(stat) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_cpu_seconds() -> float:
    with open("/proc/stat") as file:
        fields = [int(f) for f in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _jpeg() -> bytes:
    """500 x 375, as photographs in collections are."""
    import io

    from PIL import Image

    small = Image.fromarray(np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=90)
    return out.getvalue()


def shapes(r) -> list[models.Shape]:
    return [models.TINY] if r.cpu else [models.B32, models.L14]


def goals(r, figures: Figures, shape: models.Shape) -> None:
    """What decides about the goals and the default of --cuda-pipeline."""
    seconds = 20 if shape is not models.L14 else 25
    r.report.step(f"forward loop, {shape.name}", lambda: figures.forward(shape, seconds), needs=5 if r.cpu else 25)
    for pipeline in PIPELINES:
        r.report.step(f"served, {shape.name}, raw, {pipeline}", lambda p=pipeline: figures.served(shape, "raw", p),
                      needs=10 if r.cpu else 20)
    r.report.step(f"profile of the loop, {shape.name}", lambda: figures.profile(shape), needs=10)
    figures.close()


def rest(r, figures: Figures) -> None:
    for shape in shapes(r):
        r.report.step(f"served, {shape.name}, JPEG", lambda s=shape: figures.served(s, "JPEG", "graphs"), needs=20)
    r.report.step("pictures", figures.pictures, needs=5)
