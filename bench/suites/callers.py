# SPDX-License-Identifier: Apache-2.0
"""How each product is called. `prepare` makes the body of a call from its images, once; `send` sends it, waits for the
answer, and raises where there is none within `timeout` seconds; `vectors` reads an answer, to see that it is one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.client
import json
import subprocess
from typing import Callable

import numpy as np

from .common import ROOT, WORK, interpreter

_RAW = 3 * 224 * 224


@dataclasses.dataclass
class Caller:
    prepare: Callable
    send: Callable
    vectors: Callable[[bytes], np.ndarray]  # one after the other


def _text(images: list[bytes]) -> list[str]:
    return [base64.b64encode(image).decode() for image in images]


def _floats(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.float32)


def _decoded(texts: list[str]) -> np.ndarray:
    return _floats(b"".join(map(base64.b64decode, texts)))


def lengths(images: list[bytes]) -> bytes:
    """Each image after its length, as Triton and bench/peers/tower.py read them."""
    return b"".join(len(image).to_bytes(4, "little") + image for image in images)


def _channel(port: int):
    import grpc

    return grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1),
                                                       ("grpc.max_receive_message_length", -1)])


def grpc(port: int, timeout: float) -> Caller:
    from embedd.v1 import embedding_service_pb2 as pb

    call = _channel(port).unary_unary("/embedd.v1.EmbeddingService/EmbedBatch")

    def prepare(images: list[bytes]) -> bytes:
        request = pb.EmbedBatchRequest()
        for image in images:
            if len(image) == _RAW:
                request.inputs.add().raw_image.MergeFrom(pb.RawImage(width=224, height=224, rgb=image))
            else:
                request.inputs.add().image = image
        return request.SerializeToString()

    return Caller(prepare, lambda body: call(body, timeout=timeout),
                  lambda answer: _floats(pb.EmbedBatchResponse.FromString(answer).data))


def _http(port: int, timeout: float, pack, vectors) -> Caller:
    """`pack` makes (path, headers, body) of the images."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def send(packed) -> bytes:
        path, headers, body = packed
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()  # the next call opens another
            raise
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {answer[:200].decode(errors='replace')}")
        return answer

    return Caller(pack, send, vectors)


def _json(path: str, content: dict):
    return path, {"Content-Type": "application/json"}, json.dumps(content).encode()


def litserve(port: int, timeout: float) -> Caller:
    return _http(port, timeout, lambda images: _json("/predict", {"images": _text(images)}),
                 lambda answer: _decoded([json.loads(answer)["data"]]))


def ray(port: int, timeout: float) -> Caller:
    return _http(port, timeout, lambda images: ("/", {"Content-Type": "application/octet-stream"}, lengths(images)), _floats)


def bentoml(port: int, timeout: float) -> Caller:
    def pack(images: list[bytes]):
        if len(images[0]) == _RAW:
            return _json("/embed_raw", {"images": _text(images)})
        part = b'--embedd-bench\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n'
        part += b"Content-Type: image/jpeg\r\n\r\n"
        body = b"".join(part + image + b"\r\n" for image in images) + b"--embedd-bench--\r\n"
        return "/embed", {"Content-Type": "multipart/form-data; boundary=embedd-bench"}, body

    return _http(port, timeout, pack, lambda answer: _decoded(json.loads(answer)))


def infinity(port: int, timeout: float) -> Caller:
    def pack(images: list[bytes]):
        uris = [f"data:image/jpeg;base64,{text}" for text in _text(images)]
        return _json("/embeddings", {"model": "model", "modality": "image", "encoding_format": "base64", "input": uris})

    return _http(port, timeout, pack, lambda answer: _decoded([one["embedding"] for one in json.loads(answer)["data"]]))


def pytriton(port: int, timeout: float) -> Caller:
    """The v2 protocol with binary tensors, as Triton's HTTP client sends it."""
    def pack(images: list[bytes]):
        raw = len(images[0]) == _RAW
        data = b"".join(images) if raw else lengths(images)
        shape = [len(images), 224, 224, 3] if raw else [len(images), 1]
        tensor = {"name": "images", "shape": shape, "datatype": "UINT8" if raw else "BYTES",
                  "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [tensor], "outputs": [{"name": "vectors", "parameters": {"binary_data": True}}]}).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        return f"/v2/models/{'pixels' if raw else 'files'}/infer", headers, head + data

    # After the JSON, which ends with a brace, comes the only tensor.
    return _http(port, timeout, pack, lambda answer: _floats(answer[answer.index(b"}]}") + 3:]))


def clip_server(port: int, timeout: float) -> Caller:
    """The product's own messages, made with its own library, which is not in the environment of this process."""
    call = _channel(port).unary_unary("/jina.JinaSingleDataRequestRPC/process_single_data")

    def run(what: str, data: bytes) -> bytes:
        program = str(ROOT / "bench/peers/clip_server_call.py")
        done = subprocess.run([str(interpreter("clip_server")), program, what], input=data, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{program} {what}: {done.stderr.decode()[-300:]}")
        return done.stdout

    def prepare(images: list[bytes]) -> bytes:
        data = lengths(images)
        file = WORK / f"clip_server-{hashlib.sha256(data).hexdigest()[:16]}.body"
        if not file.exists():
            file.write_bytes(run("body", data))
        return file.read_bytes()

    return Caller(prepare, lambda body: call(body, timeout=timeout), lambda answer: _floats(run("vectors", answer)))
