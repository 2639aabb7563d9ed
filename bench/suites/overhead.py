# SPDX-License-Identifier: Apache-2.0
"""CPU time of queue, scheduler, release and reply per image."""

from __future__ import annotations

from .common import BIN, Figure, Settings, run_json


def run(settings: Settings) -> dict[str, Figure]:
    report = run_json(BIN / "bench_overhead", "--rounds", str(settings.rounds), "--memory-limit", str(2**34))
    return {"us": Figure.of(report["microseconds_per_image"], "us", "16 images a call, 16 calls in flight, a limit of 16 GiB")}
