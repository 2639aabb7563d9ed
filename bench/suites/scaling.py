# SPDX-License-Identifier: Apache-2.0
"""Whether cost grows with the number of callers, of images in a call, or of connections that do nothing."""

from __future__ import annotations

import time

import grpc

from . import inputs
from .common import Figure, Settings, cpu_ms_per_image, null_server, resident_bytes

_SIZES = (1, 4, 16, 64, 256)


def _growth(measure, rounds: int) -> tuple[list[float], str]:
    """Of each round the highest cost over that of size 1; and the medians as text."""
    costs = [[measure(size) for size in _SIZES] for _ in range(rounds)]
    medians = [Figure.of(list(column)).median for column in zip(*costs)]
    text = ", ".join(f"{size}: {1e3 * cost:.0f}" for size, cost in zip(_SIZES, medians))
    return [max(row) / row[0] for row in costs], f"CPU us per raw image: {text}"


def _bytes_per_connection(server, count: int = 300) -> float:
    before = resident_bytes(server.pid)
    channels = [grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(count)]
    for channel in channels:
        grpc.channel_ready_future(channel).result(30)
    time.sleep(0.5)  # what the server still does for the last of them
    grown = resident_bytes(server.pid) - before
    for channel in channels:
        channel.close()
    return grown / count


def run(settings: Settings) -> dict[str, Figure]:
    server = null_server("--queue-images", "65536", "--queue-bytes", "12GiB")
    rounds, seconds = max(2, settings.rounds - 2), settings.seconds / 2
    try:
        raw = inputs.flags("raw")
        idle = _bytes_per_connection(server) / 1024
        callers, callers_text = _growth(
            lambda n: cpu_ms_per_image(server, seconds, "--callers", str(n), "--images", "16", *raw),
            rounds)
        images, images_text = _growth(
            lambda n: cpu_ms_per_image(server, seconds, "--callers", "4", "--images", str(n), *raw), rounds)
    finally:
        server.stop()
    return {"callers": Figure.of(callers, "", callers_text), "images": Figure.of(images, "", images_text),
            "connection_kib": Figure.of([idle], "KiB", "300 connections, resident memory")}
