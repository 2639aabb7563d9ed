# SPDX-License-Identifier: Apache-2.0
"""The forward pass of other towers than ViT-B/32's, and of texts, in f32 with random weights, against the best of ONNX Runtime,
OpenVINO and the library that each belongs to."""

from __future__ import annotations

import statistics
import time

from . import inputs
from .common import BIN, ROOT, Figure, Settings, Worker, interpreter

_OTHERS = ("library", "onnxruntime", "openvino")
# Folder, tower, batch. A call of the largest takes ten seconds and more.
_ROWS = (("vit-b-16", "image", 8), ("vit-l-14", "image", 4), ("siglip-b-16", "image", 8), ("dinov2-b-14", "image", 8),
         ("vit-b-32", "text", 64), ("siglip-b-16", "text", 64))


def _contenders(folder, tower: str) -> dict[str, Worker]:
    started = {"engine": Worker(BIN / "bench_engine", "--model", folder, "--tower", tower, env={"GOMP_SPINCOUNT": "2000"})}
    for name in _OTHERS:
        python = ROOT / ".venv/bin/python" if name == "library" else interpreter(name)
        if python.exists():
            started[name] = Worker(python, ROOT / "bench/peers/forward.py", name, "--model", folder, "--tower", tower)
    for name, worker in list(started.items()):  # one after the other: some measure what is fastest here while they load
        try:
            worker.ask("1 1")
        except (RuntimeError, BrokenPipeError) as error:
            if name in ("engine", "library"):
                raise
            print(f"  {folder.name}, {tower}: {name} does not run it ({error})", flush=True)
            started.pop(name).__exit__()
    return started


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    for name, tower, full in _ROWS:
        workers = _contenders(inputs.family(name), tower)
        try:
            for batch in (full, 1):
                rates: dict[str, list[float]] = {one: [] for one in workers}
                for _ in range(min(3, settings.rounds)):
                    for one, worker in workers.items():
                        time.sleep(0.2)  # or the spinning threads of the one before it take its processors
                        # The fastest call of a turn: others on the machine only ever make a call slower.
                        calls = 2 if batch > 1 else max(2, round(settings.seconds))
                        rates[one].append(batch / min(worker.ask(f"{batch} {calls}")["seconds"]))
                told = ", ".join(f"{one} {statistics.median(rates[one]):.2f}" for one in rates)
                best = max((one for one in rates if one != "engine"), key=lambda one: statistics.median(rates[one]))
                note = f"{name}, {tower}: a second {told}; best: {best}"
                figures[f"{name}_{tower}_{'full' if batch > 1 else 'one'}"] = Figure.ratio(rates["engine"], rates[best], note)
        finally:
            for worker in workers.values():
                worker.__exit__()
    return figures
