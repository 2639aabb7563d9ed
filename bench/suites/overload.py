# SPDX-License-Identifier: Apache-2.0
"""Goodput when ten times as much is asked as can be done: answers within a deadline of 2 s, against the maximum."""

from __future__ import annotations

from . import inputs
from .common import Figure, Settings, embedd, load

_IMAGES = 4  # a call


def run(settings: Settings) -> dict[str, Figure]:
    server = embedd(inputs.model("vit-b-32"))
    seconds = 3 * settings.seconds
    maxima, goodputs = [], []
    try:
        for _ in range(settings.rounds):
            call = ["--images", str(_IMAGES), *inputs.flags("jpeg")]
            most = load(server.grpc, seconds, "--callers", "8", *call, warmup=2)["images_per_second"]
            flood = load(server.grpc, seconds, "--rate", f"{10 * most / _IMAGES:.1f}", *call, warmup=3, timeout=2)
            maxima.append(most)
            goodputs.append(flood["images_per_second"])
    finally:
        server.stop()
    note = f"ViT-B/32, {_IMAGES} JPEG a call, open loop; the maximum is {Figure.of(maxima).median:.1f} images/s"
    return {"goodput": Figure.ratio(goodputs, maxima, note)}
