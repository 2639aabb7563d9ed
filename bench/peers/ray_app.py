# SPDX-License-Identifier: Apache-2.0
"""Ray Serve: one replica, batches across requests with serve.batch; a call is one binary body."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from peers.tower import Tower, unpack  # noqa: E402
from ray import serve  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import Response  # noqa: E402


@serve.deployment(max_ongoing_requests=64)
class Embed:
    def __init__(self, folder: str) -> None:
        self.tower = Tower(folder)

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.01)
    async def embed(self, calls: list[list[bytes]]) -> list[bytes]:
        vectors, rows, at = self.tower.embed([image for call in calls for image in call]), [], 0
        for call in calls:
            rows.append(vectors[at:at + len(call)].tobytes())
            at += len(call)
        return rows

    async def __call__(self, request: Request) -> Response:
        return Response(await self.embed(unpack(await request.body())))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(Embed.bind(options.model))
    while True:
        time.sleep(60)
