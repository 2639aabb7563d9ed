#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the Python client itself costs: images/s and CPU per image against a server that does nothing.

The server is a process of its own that counts the inputs of a request without reading them and answers zeros, so what
is left is the client, gRPC and the loopback. CPU is that of the client's process alone. Prints one line per kind.

    python client/python/bench_client.py [--images 2000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import grpc
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "src"))

from embedd import EmbedClient, aio  # noqa: E402
from embedd.v1 import embedding_service_pb2 as pb  # noqa: E402

DIMENSION = 512


def serve() -> None:
    """The server that does nothing. Prints its port."""
    zeros = {}

    def inputs_of(request: bytes) -> int:
        at = count = 0
        while at < len(request):
            tag = request[at]
            length, at = _varint(request, at + 1)
            if tag & 7 == 2:
                count += tag >> 3 == 1
                at += length
        return count

    def embed(count, _context):
        if count not in zeros:
            answer = pb.EmbedBatchResponse(dimension=DIMENSION, encoding=1, data=bytes(4 * DIMENSION * count))
            zeros[count] = answer.SerializeToString()
        return zeros[count]

    def info(_request, _context):
        limits = pb.Limits(
            max_message_bytes=64 << 20, max_inputs_per_request=1024, max_image_bytes=32 << 20, queue_images=1024
        )
        answer = pb.GetServerInfoResponse(model=pb.ModelInfo(dimension=DIMENSION), limits=limits)
        return answer.SerializeToString()

    methods = {
        "EmbedBatch": grpc.unary_unary_rpc_method_handler(embed, request_deserializer=inputs_of),
        "GetServerInfo": grpc.unary_unary_rpc_method_handler(info),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("embedd.v1.EmbeddingService", methods),))
    port = server.add_insecure_port("localhost:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def _varint(data: bytes, at: int):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def kinds(count: int, folder: pathlib.Path):
    """Names and image lists: as many different objects as a real job holds, within reason."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(64)]
    yield "raw 224x224 arrays", [arrays[index % 64] for index in range(count)]
    try:
        from PIL import Image
    except ImportError:
        return
    yield "224x224 PIL images", [Image.fromarray(arrays[index % 64]) for index in range(count)]
    smooth = Image.fromarray(arrays[0][:16, :16]).resize((500, 375), Image.BICUBIC)
    out = io.BytesIO()
    smooth.save(out, "JPEG", quality=90)
    jpeg = out.getvalue() + bytes(60_000 - len(out.getvalue()))  # the size of a usual photo of 500x375
    yield f"JPEG bytes, {len(jpeg) // 1000} kB", [jpeg] * count
    paths = []
    for index in range(256):
        paths.append(folder / f"{index}.jpg")
        paths[-1].write_bytes(jpeg)
    yield f"JPEG files, {len(jpeg) // 1000} kB", [paths[index % 256] for index in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    target = f"localhost:{int(process.stdout.readline())}"
    try:
        with tempfile.TemporaryDirectory() as folder, EmbedClient(target) as client:
            for name, images in kinds(arguments.images, pathlib.Path(folder)):
                measure(f"{name}, threads", images, arguments.rounds, lambda: client.embed_images(images))
                measure(f"{name}, asyncio", images, arguments.rounds, lambda: asyncio.run(_aio(target, images)))
            one = [np.zeros((224, 224, 3), np.uint8)]
            measure(
                "one raw 224x224 image a call",
                one * 200,
                arguments.rounds,
                lambda: [client.embed_images(one) for _ in range(200)],
            )
    finally:
        process.kill()
        process.wait()


async def _aio(target, images):
    async with aio.EmbedClient(target) as client:
        await client.embed_images(images)


def measure(name, images, rounds, work) -> None:
    work()
    rates, costs = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        rates.append(len(images) / (time.perf_counter() - wall))
        costs.append((time.process_time() - cpu) / len(images) * 1e6)
    print(
        f"{name:36s} {statistics.median(rates):8.0f} images/s (best {max(rates):.0f})   "
        f"client CPU {statistics.median(costs):6.1f} us/image (least {min(costs):.1f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
