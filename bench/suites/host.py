# SPDX-License-Identifier: Apache-2.0
"""CPU time of the server per image outside the forward pass, against the JPEG library and the exact resize alone."""

from __future__ import annotations

from . import inputs
from .common import BIN, Figure, Settings, Worker, cpu_ms_per_image, null_server

_LOAD = ["--callers", "4", "--images", "16"]


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    server = null_server()
    try:
        for kind in ("jpeg", "12mp"):
            ours, floors, ratios = [], [], []
            images = ["--callers", "2", "--images", "2"] if kind == "12mp" else _LOAD
            with Worker(BIN / "bench_host", *inputs.files(kind)) as floor:
                passes = 12 if kind == "jpeg" else 2
                for _ in range(settings.rounds):
                    alone = floor.ask(str(passes))
                    ours.append(cpu_ms_per_image(server, settings.seconds, *images, *inputs.flags(kind)))
                    floors.append(alone["decode_ms"] + alone["resize_ms"])
                    ratios.append(ours[-1] / (1.25 * floors[-1] + 0.15))
            note = f"server {Figure.of(ours).median:.2f} ms, library and resize alone {Figure.of(floors).median:.2f} ms"
            figures[kind] = Figure.of(ratios, "", note)
        raw = [cpu_ms_per_image(server, settings.seconds, *_LOAD, *inputs.flags("raw")) for _ in range(settings.rounds)]
        figures["raw_ms"] = Figure.of(raw, "ms")
    finally:
        server.stop()
    return figures
