# SPDX-License-Identifier: Apache-2.0
"""The forward pass of other towers than ViT-B/32 against the library that each belongs to, in f32, with random weights."""

from __future__ import annotations

import statistics
import time

from . import inputs
from .common import BIN, ROOT, Figure, Settings, Worker


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    for name in inputs.FAMILIES:
        folder = inputs.family(name)
        workers = {
            "engine": Worker(BIN / "bench_engine", "--contender", "engine", "--model", folder, env={"GOMP_SPINCOUNT": "2000"}),
            "library": Worker(ROOT / ".venv/bin/python", ROOT / "bench/peers/family.py", "--model", folder),
        }
        try:
            for batch in (8, 1):
                rates: dict[str, list[float]] = {one: [] for one in workers}
                for worker in workers.values():
                    worker.ask(f"{batch} 1")  # warm
                for _ in range(settings.rounds):
                    for one, worker in workers.items():
                        time.sleep(0.2)  # or the spinning threads of the one before it take its processors
                        # The fastest call of a turn: others on the machine only ever make a call slower.
                        calls = max(2, round(settings.seconds / batch))
                        rates[one].append(batch / min(worker.ask(f"{batch} {calls}")["seconds"]))
                told = ", ".join(f"{one} {statistics.median(rates[one]):.2f}" for one in rates)
                figures[f"{name}_{batch}"] = Figure.ratio(rates["engine"], rates["library"], f"images/s: {told}")
        finally:
            for worker in workers.values():
                worker.__exit__()
    return figures
