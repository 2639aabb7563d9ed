# SPDX-License-Identifier: Apache-2.0
"""Ray Serve: one replica, batches across requests with serve.batch; a call is one binary body over HTTP."""

from __future__ import annotations

import threading

import ray
from peers.tower import MAX_BATCH, PROCESSORS, Tower, arguments, split, unpack
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment
class Embed:
    def __init__(self, folder: str) -> None:
        self.tower = Tower(folder, PROCESSORS)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01, batch_size_fn=lambda calls: sum(map(len, calls)))
    async def embed(self, calls: list[list[bytes]]) -> list[bytes]:
        vectors = self.tower.embed([image for call in calls for image in call])
        return [rows.tobytes() for rows in split(vectors, [len(call) for call in calls])]

    async def __call__(self, request: Request) -> Response:
        return Response(await self.embed(unpack(await request.body())))


if __name__ == "__main__":
    options = arguments()
    ray.init(num_cpus=PROCESSORS, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    # num_cpus also sets the threads of OpenMP; what is not in the replica waits in the proxy.
    deployment = Embed.options(ray_actor_options={"num_cpus": PROCESSORS}, max_ongoing_requests=options.queue or 64,
                               max_queued_requests=1 if options.queue else -1)
    serve.run(deployment.bind(options.model))
    threading.Event().wait()
