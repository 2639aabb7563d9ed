# SPDX-License-Identifier: Apache-2.0
"""CPU time of the server per image outside the forward pass, against decoding the whole picture and the exact resize alone."""

from __future__ import annotations

from . import inputs
from .common import BIN, Figure, Settings, Worker, cpu_ms_per_image, null_server

_LOAD = ["--callers", "4", "--images", "16"]
_FILES = ("jpeg", "12mp", "12mp-portrait", "png", "webp")


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    server = null_server()
    try:
        for kind in _FILES:
            ours, floors, ratios = [], [], []
            images = ["--callers", "2", "--images", "2"] if kind.startswith("12mp") else _LOAD
            with Worker(BIN / "bench_host", *inputs.files(kind)) as floor:
                passes = 2 if kind.startswith("12mp") else 12
                for _ in range(settings.rounds):
                    before = floor.ask(str(passes))
                    ours.append(cpu_ms_per_image(server, settings.seconds, *images, *inputs.flags(kind)))
                    after = floor.ask(str(passes))  # on both sides of it: the machine's pace drifts
                    floors.append(sum(alone[part] for alone in (before, after) for part in ("decode_ms", "resize_ms")) / 2)
                    ratios.append(ours[-1] / floors[-1])
            note = f"{kind}: server {Figure.of(ours).median:.2f} ms, decode and resize alone {Figure.of(floors).median:.2f} ms"
            figures[kind] = Figure.of(ratios, "", note)
        raw = [cpu_ms_per_image(server, settings.seconds, *_LOAD, *inputs.flags("raw")) for _ in range(settings.rounds)]
        figures["raw_ms"] = Figure.of(raw, "ms")
    finally:
        server.stop()
    return figures
