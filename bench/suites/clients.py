# SPDX-License-Identifier: Apache-2.0
"""The Python client against the C++ client: the same job, the same server."""

from __future__ import annotations

import subprocess
import time

from embedd import EmbedClient

from . import inputs
from .common import BIN, Figure, Settings, Server, embedd, null_server


def _python(server: Server, files: list) -> float:
    with EmbedClient(server.grpc) as client:
        start = time.monotonic()
        client.embed_images(files)
        return len(files) / (time.monotonic() - start)


def _cpp(server: Server, files: list) -> float:
    start = time.monotonic()
    subprocess.run([BIN / "embedctl", "--target", server.grpc, "embed", "--npy", "/dev/null", *map(str, files)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return len(files) / (time.monotonic() - start)


def _compare(server: Server, files: list, rounds: int) -> tuple[list[float], list[float]]:
    _python(server, files[:16])
    pairs = [(_python(server, files), _cpp(server, files)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def run(settings: Settings) -> dict[str, Figure]:
    figures = {}
    files = inputs.files("jpeg")
    for name, start, count in (("vit", lambda: embedd(inputs.model("vit-b-32")), int(10 * settings.seconds)),
                               ("null", null_server, int(500 * settings.seconds))):
        server = start()
        try:
            python, cpp = _compare(server, (files * (count // len(files) + 1))[:count], settings.rounds)
        finally:
            server.stop()
        note = f"JPEG files, images/s: Python {Figure.of(python).median:.0f}, C++ {Figure.of(cpp).median:.0f}"
        figures[name] = Figure.ratio(python, cpp, note)
    return figures
