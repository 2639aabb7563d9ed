#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many mock servers in one process, one on each of 127.1.0.1, 127.1.0.2, ...: all on one port, as replicas behind a name are.
They answer with zeros after a fixed time, one call at a time, and say their health. Prints the port when all listen; ends with
its input. Used by the suite `fleet`.

    bench/fleet_servers.py COUNT SECONDS_A_CALL
"""

import asyncio
import os
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "client/python/src"))

import grpc  # noqa: E402

from embedd.v1 import embedding_service_pb2 as pb  # noqa: E402

DIMENSION = 16
SERVING = b"\x08\x01"


def address(number: int) -> str:
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Replica:
    """One of them."""

    calls = 0
    watches = 0

    def __init__(self, seconds: float) -> None:
        self._seconds, self._free = seconds, asyncio.Lock()

    async def embed(self, request: bytes, _context) -> bytes:
        Replica.calls += 1
        count = len(pb.EmbedBatchRequest.FromString(request).inputs)
        async with self._free:
            await asyncio.sleep(self._seconds)
        return pb.EmbedBatchResponse(dimension=DIMENSION, encoding=pb.ENCODING_FLOAT32, data=bytes(4 * DIMENSION * count),
                                     model_fingerprint="mock").SerializeToString()

    async def info(self, _request: bytes, _context) -> bytes:
        limits = pb.Limits(max_message_bytes=64 << 20, max_inputs_per_request=1024, max_image_bytes=32 << 20,
                           max_pixels=64 << 20, queue_images=1024, queue_bytes=512 << 20)
        model = pb.ModelInfo(name="mock", fingerprint="mock", dimension=DIMENSION, towers=["image"])
        return pb.GetServerInfoResponse(model=model, limits=limits, state=pb.GetServerInfoResponse.READY).SerializeToString()

    async def check(self, _request: bytes, _context) -> bytes:
        return SERVING

    async def watch(self, _request: bytes, _context):
        Replica.watches += 1
        yield SERVING
        await asyncio.Event().wait()


async def main() -> None:
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))
        port = one.getsockname()[1]
    servers = []
    for number in range(count):
        replica = Replica(seconds)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        unary = grpc.unary_unary_rpc_method_handler
        server.add_generic_rpc_handlers([
            grpc.method_handlers_generic_handler("embedd.v1.EmbeddingService",
                                                 {"EmbedBatch": unary(replica.embed), "GetServerInfo": unary(replica.info)}),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
                "Check": unary(replica.check), "Watch": grpc.unary_stream_rpc_method_handler(replica.watch)})])
        server.add_insecure_port(f"{address(number)}:{port}")
        await server.start()
        servers.append(server)
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
