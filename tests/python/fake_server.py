# SPDX-License-Identifier: Apache-2.0
"""A stand-in for embedd that answers by the contract and fails on command. For the tests of the Python client.

A vector depends on nothing but the content, so that a lost, doubled or misplaced image shows. An "image" may be any
bytes; those that begin with `bad` are rejected.

In a test: `with FakeServer() as server: EmbedClient(server.target)`. As a process of its own (for tests that fork or
kill): `python fake_server.py [--port P] [--fingerprint F]` prints the port.
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import threading
from concurrent import futures
from typing import Callable, List, Optional

import grpc
import numpy as np

from embedd.v1 import embedding_service_pb2 as pb
from embedd.v1 import embedding_service_pb2_grpc as pb_grpc
from embedd.v1 import rpc_status_pb2 as wire

DIMENSION = 16


def vector(content: bytes, normalize: bool = True) -> np.ndarray:
    """The vector of a file's bytes, or of raw RGB pixels: float32 [DIMENSION]."""
    numbers = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)[:DIMENSION].astype(np.float64) - 127.5
    if normalize:
        numbers /= np.linalg.norm(numbers)
    return numbers.astype(np.float32)


def images(count: int, start: int = 0) -> List[bytes]:
    """`count` images of their own."""
    return [b"image-%d" % number for number in range(start, start + count)]


def gone() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % taken.getsockname()[1]


def vectors(contents: List[bytes]) -> np.ndarray:
    """float32 [N, DIMENSION]."""
    return np.stack([vector(content) for content in contents])


class Failure(Exception):
    """A whole-call error: status, reason and trailers as embedd sends them."""

    def __init__(self, code, message="scripted", reason="", pushback_ms: Optional[object] = None, metadata=None):
        super().__init__(message)
        self.code, self.message, self.reason = code, message, reason
        self.pushback_ms, self.metadata = pushback_ms, metadata or {}

    def abort(self, context) -> None:
        trailers = []
        if self.reason:
            info = wire.ErrorInfo(reason=self.reason, domain="embedd", metadata=self.metadata)
            status = wire.Status(code=self.code.value[0], message=self.message)
            status.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString())
            trailers.append(("grpc-status-details-bin", status.SerializeToString()))
        if self.pushback_ms is not None:
            trailers.append(("grpc-retry-pushback-ms", str(self.pushback_ms)))
        context.set_trailing_metadata(tuple(trailers))
        context.abort(self.code, self.message)


def queue_full(pushback_ms=20) -> Failure:
    return Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", "QUEUE_FULL", pushback_ms)


class FakeServer(pb_grpc.EmbeddingServiceServicer):
    """The server, on a free port of the loopback.

    Attributes to script it with:
      before: called with every EmbedBatchRequest; may raise `Failure`, block, or return a response to send instead
        (other values do not count).
      script: failures (or None) for the next EmbedBatch calls, one each; the rest succeeds.
      on_stream: called with (stream number, messages so far) for every stream message; may raise `Failure`.
      serving: what health says; None: it is not asked, there is no health service.
    What it saw:
      traces: the header `traceparent` of every call and stream, None where there was none.
      requests: EmbedBatchRequests without their pixels: [number of inputs, priority, expect_fingerprint, ...].
    """

    def __init__(
        self,
        port: int = 0,
        fingerprint: str = "fp-1",
        token: str = "",
        max_message_bytes: int = 64 << 20,
        credentials=None,
        workers: int = 16,
        state=pb.GetServerInfoResponse.READY,
        host: str = "localhost",
    ) -> None:
        self.fingerprint, self.token, self.state = fingerprint, token, state
        self.limits = pb.Limits(
            max_message_bytes=max_message_bytes,
            max_inputs_per_request=1024,
            max_image_bytes=32 << 20,
            max_pixels=64 << 20,
            queue_images=1024,
            queue_bytes=512 << 20,
        )
        self.formats: List[str] = []  # accepted_formats
        self.before: Callable[[pb.EmbedBatchRequest], Optional[pb.EmbedBatchResponse]] = lambda request: None
        self.script: List[Optional[Failure]] = []
        self.on_stream: Callable[[int, int], None] = lambda stream, messages: None
        self.serving: Optional[bool] = None
        self.traces: List[Optional[str]] = []
        self.requests: List[pb.EmbedBatchRequest] = []
        self.sizes: List[int] = []
        self.info_calls = self.streams = self.running = self.most_running = 0
        self.answered: List[bytes] = []  # content of every input that was answered, streams too
        self._lock = threading.Lock()
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(workers),
            options=[("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0)],
        )
        pb_grpc.add_EmbeddingServiceServicer_to_server(self, self._grpc)
        check = grpc.unary_unary_rpc_method_handler(self._health)
        self._grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})])
        address = f"{host}:{port}"
        self.port = (
            self._grpc.add_secure_port(address, credentials) if credentials else self._grpc.add_insecure_port(address)
        )
        self.target = f"localhost:{self.port}"

    def __enter__(self) -> "FakeServer":
        self._grpc.start()
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends at once; calls under way get UNAVAILABLE or CANCELLED."""
        self._grpc.stop(None).wait()

    def wait(self) -> None:
        self._grpc.wait_for_termination()

    def _health(self, request: bytes, context) -> bytes:
        if self.serving is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no health here")
        return b"\x08\x01" if self.serving else b"\x08\x02"  # SERVING, NOT_SERVING

    def GetServerInfo(self, request, context):  # noqa: N802
        self._authenticate(context)
        self.info_calls += 1
        return pb.GetServerInfoResponse(
            model=pb.ModelInfo(name="fake", fingerprint=self.fingerprint, dimension=DIMENSION, towers=["image"]),
            device="cpu",
            dtype="f32",
            limits=self.limits,
            accepted_formats=self.formats,
            state=self.state,
        )

    def EmbedBatch(self, request, context):  # noqa: N802
        self._authenticate(context)
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.sizes.append(request.ByteSize())
            self.requests.append(_without_pixels(request))
            self.traces.append(dict(context.invocation_metadata()).get("traceparent"))
            scripted = self.script.pop(0) if self.script else None
        try:
            if scripted is not None:
                raise scripted
            special = self.before(request)
            self._check(request)
            return special if isinstance(special, pb.EmbedBatchResponse) else self._embed(request)
        except Failure as failure:
            failure.abort(context)
        finally:
            with self._lock:
                self.running -= 1

    def EmbedStream(self, request_iterator, context):  # noqa: N802
        with self._lock:
            self.streams += 1
            self.traces.append(dict(context.invocation_metadata()).get("traceparent"))
            stream = self.streams
        first = None
        for index, request in enumerate(request_iterator):
            first = first or request
            try:
                self.on_stream(stream, index)
                self._expect(first.expect_fingerprint)
            except Failure as failure:
                failure.abort(context)
            answer = pb.EmbedStreamResponse(index=index, id=request.input.id, model_fingerprint=self.fingerprint)
            content = _content(request.input)
            if content.startswith(b"bad"):
                answer.error.index, answer.error.code = index, 3
                answer.error.reason, answer.error.message = "CORRUPT_IMAGE", f"inputs[{index}].image is broken"
            else:
                answer.dimension = DIMENSION
                answer.data = _pack(vector(content, _normalize(first)), first.encoding)
            with self._lock:
                self.answered.append(content)
            yield answer

    def _embed(self, request) -> pb.EmbedBatchResponse:
        answer = pb.EmbedBatchResponse(dimension=DIMENSION, model_fingerprint=self.fingerprint)
        answer.encoding = request.encoding or pb.ENCODING_FLOAT32
        rows = []
        for index, one in enumerate(request.inputs):
            content = _content(one)
            if content.startswith((b"bad", b"text:bad")):
                answer.errors.add(
                    index=index, code=3, reason="CORRUPT_IMAGE", message=f"inputs[{index}].image is broken"
                )
                rows.append(np.zeros(DIMENSION, np.float32))
            else:
                rows.append(vector(content, _normalize(request)))
            with self._lock:
                self.answered.append(content)
        answer.data = b"".join(_pack(row, answer.encoding) for row in rows)
        answer.timing.total_ns, answer.timing.largest_batch, answer.timing.batches = 1_000_000, len(rows), 1
        return answer

    def _check(self, request) -> None:
        count = len(request.inputs)
        if count == 0 or any(not _content(one) for one in request.inputs):
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "inputs: empty", "INVALID_REQUEST")
        if count > self.limits.max_inputs_per_request:
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"inputs: {count}, the limit is " f"{self.limits.max_inputs_per_request}",
                "INVALID_REQUEST",
            )
        if count > self.limits.queue_images:
            raise queue_full(pushback_ms=-1)
        for index, one in enumerate(request.inputs):
            raw = one.raw_image
            if one.WhichOneof("content") == "raw_image" and len(raw.rgb) != 3 * raw.width * raw.height:
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, f"inputs[{index}].raw_image.rgb", "INVALID_REQUEST")
        self._expect(request.expect_fingerprint)

    def _expect(self, fingerprint: str) -> None:
        if fingerprint and fingerprint != self.fingerprint:
            raise Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                "another model is loaded",
                "MODEL_MISMATCH",
                metadata={"expected": fingerprint, "actual": self.fingerprint},
            )

    def _authenticate(self, context) -> None:
        if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            Failure(grpc.StatusCode.UNAUTHENTICATED, "no valid token", "UNAUTHENTICATED").abort(context)


def _content(one: pb.Input) -> bytes:
    """What the vector is made of. Of a text: `text_content` of it."""
    kind = one.WhichOneof("content")
    return {"raw_image": one.raw_image.rgb, "text": text_content(one.text)}.get(kind, one.image)


def text_content(text: str) -> bytes:
    return b"text:" + text.encode("utf-8")


def _normalize(request) -> bool:
    return request.normalize if request.HasField("normalize") else True


def _pack(row: np.ndarray, encoding: int) -> bytes:
    return row.astype("<f2" if encoding == pb.ENCODING_FLOAT16 else "<f4").tobytes()


def _without_pixels(request) -> pb.EmbedBatchRequest:
    kept = pb.EmbedBatchRequest(
        encoding=request.encoding, priority=request.priority, expect_fingerprint=request.expect_fingerprint
    )
    if request.HasField("normalize"):
        kept.normalize = request.normalize
    for one in request.inputs:
        if one.WhichOneof("content") == "text":
            kept.inputs.add(text=one.text[:64])
        else:
            kept.inputs.add(image=_content(one)[:64])
    return kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fingerprint", default="fp-1")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that every call takes")
    arguments = parser.parse_args()
    with FakeServer(arguments.port, arguments.fingerprint) as server:
        if arguments.delay:
            pause = threading.Event()
            server.before = lambda request: pause.wait(arguments.delay)
        print(server.port, flush=True)
        server.wait()


if __name__ == "__main__":
    main()
