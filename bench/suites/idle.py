# SPDX-License-Identifier: Apache-2.0
"""How long the device waits between batches while callers wait for it."""

from __future__ import annotations

import threading
import time

from . import inputs
from .common import Figure, Settings, embedd, load


def _last(server) -> int:
    batches = server.batches()
    return batches[-1]["id"] if batches else 0


def _newest(server, after: int) -> tuple[int, float]:
    """Waits for a batch newer than `after`: its number and the time it was seen."""
    while True:
        newest = _last(server)
        if newest > after:
            return newest, time.monotonic()
        time.sleep(0.005)


def run(settings: Settings) -> dict[str, Figure]:
    server = embedd(inputs.model("vit-b-32"), "--latency-target", "0")
    shares = []
    try:
        seconds = settings.rounds * 2.5 * settings.seconds
        callers = threading.Thread(target=load, args=(server.grpc, seconds + 8, "--callers", "16", "--images", "16",
                                                      *inputs.flags("jpeg")))
        callers.start()
        first, start = _newest(server, _last(server) + 1)  # the first batches fill up
        for _ in range(settings.rounds):
            time.sleep(2 * settings.seconds)
            last, end = _newest(server, _last(server))
            busy = sum(batch["execute_ns"] for batch in server.batches() if first < batch["id"] <= last) / 1e9
            shares.append(100 * (1 - busy / (end - start)))
            first, start = last, end
        callers.join()
    finally:
        server.stop()
    return {"percent": Figure.of(shares, "%", "ViT-B/32, 16 callers x 16 JPEG")}
