# SPDX-License-Identifier: Apache-2.0
"""The forward pass alone: the server's engine in f32 against a plain LibTorch loop and other runtimes, in int8 against f32."""

from __future__ import annotations

import statistics
import time

from . import inputs, machine
from .common import BIN, ROOT, Figure, Settings, Worker, interpreter

_OTHERS = ("open_clip", "onnxruntime", "openvino")  # open_clip is the model's own library


def contenders(model) -> dict[str, Worker]:
    # The server's threads spin briefly while they wait; so do those of the plain loop.
    brief = {"GOMP_SPINCOUNT": "2000"}
    commands = {name: [BIN / "bench_engine", "--contender", name, "--model", model] for name in ("engine", "plain")}
    if machine.multiplies_bytes():
        commands["int8"] = [*commands["engine"], "--dtype", "int8"]
    for name in _OTHERS:
        python = ROOT / ".venv/bin/python" if name == "open_clip" else interpreter(name)
        if python.exists():
            runtime = "library" if name == "open_clip" else name
            commands[name] = [python, ROOT / "bench/peers/forward.py", runtime, "--model", model]
    started = {}
    for name, command in commands.items():
        started[name] = Worker(*command, env={} if name in _OTHERS else brief)
        started[name].ask("1 1")  # one after the other: some measure what is fastest here while they load
    return started


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    workers = contenders(inputs.model("vit-b-32"))
    try:
        for batch in (16, 1):
            rates: dict[str, list[float]] = {name: [] for name in workers}
            for worker in workers.values():
                worker.ask(f"{batch} 2")  # warm
            for _ in range(settings.rounds):
                for name, worker in workers.items():
                    time.sleep(0.2)  # or the spinning threads of the one before it take its processors
                    # The fastest call of a turn: others on the machine only ever make a call slower.
                    calls = max(2, round(settings.seconds * 8 / batch))
                    rates[name].append(batch / min(worker.ask(f"{batch} {calls}")["seconds"]))
            absolute = ", ".join(f"{name} {statistics.median(rates[name]):.1f}" for name in rates)
            figures[f"plain_{batch}"] = Figure.ratio(rates["engine"], rates["plain"], f"images/s: {absolute}")
            if "int8" in rates:
                figures[f"int8_{batch}"] = Figure.ratio(rates["int8"], rates["engine"])
            others = [name for name in _OTHERS if name in rates]
            if others:
                best = max(others, key=lambda name: statistics.median(rates[name]))
                figures[f"other_{batch}"] = Figure.ratio(rates["engine"], rates[best], f"best: {best}")
            delta = workers["engine"].ask(f"compare {batch}")["max_delta"]
            figures[f"delta_{batch}"] = Figure.of([delta], "", "largest difference of a number of a unit vector")
    finally:
        for worker in workers.values():
            worker.__exit__()
    return figures
