# SPDX-License-Identifier: Apache-2.0
"""ViT-B/32 served over gRPC against the same engine called in a loop in the same process."""

from __future__ import annotations

from . import inputs
from .common import BIN, Figure, Settings, run_json


def run(settings: Settings) -> dict[str, Figure]:
    program, model = BIN / "bench_served", inputs.model("vit-b-32")
    length = ["--rounds", str(settings.rounds), "--seconds"]
    many = run_json(program, "--model", model, *length, str(2 * settings.seconds))
    one = run_json(program, "--model", model, *length, str(settings.seconds), "--callers", "1", "--images", "1")
    pairs = zip(one["served"]["median_ms"], one["engine"]["median_ms"])
    forward = Figure.of(one["engine"]["median_ms"]).median
    return {
        "over_engine": Figure.ratio(many["served"]["images_per_second"], many["engine"]["images_per_second"],
                                    "16 callers x 16 raw images"),
        "latency_ms": Figure.of([served - engine for served, engine in pairs], "ms",
                                f"1 caller, 1 raw image; the forward pass takes {forward:.1f} ms"),
    }
