# SPDX-License-Identifier: Apache-2.0
"""Requests to bytes, answers to arrays. Pure; shared by the two clients.

The inputs of a request are written by hand: the pixels are copied once, straight into the message. Building the same
message out of protobuf objects copies them three times and takes three to five times the CPU (README, "Speed").
Everything else goes through the generated code; a test reads what is written here with it.
"""

from __future__ import annotations

from typing import List, NamedTuple, Sequence, Union

import numpy as np

from . import errors
from .v1 import embedding_service_pb2 as pb

Buffer = Union[bytes, bytearray, memoryview]

# Tags: (field number << 3) | 2 for length-delimited, | 0 for varint.
_REQUEST_INPUT = b"\x0a"  # EmbedBatchRequest.inputs and EmbedStreamRequest.input
_INPUT_IMAGE = b"\x0a"
_INPUT_RAW_IMAGE = b"\x12"
_INPUT_TEXT = b"\x1a"
_INPUT_ID = b"\x22"
_RAW_WIDTH = b"\x08"
_RAW_HEIGHT = b"\x10"
_RAW_RGB = b"\x1a"

# More than any header of an input takes.
INPUT_OVERHEAD_BYTES = 64
# More than a message takes beside its inputs.
MESSAGE_OVERHEAD_BYTES = 1024

_ENCODINGS = {"float32": pb.ENCODING_FLOAT32, "float16": pb.ENCODING_FLOAT16}
# The wire is little-endian whatever the machine is.
_WIRE_DTYPES = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
PRIORITIES = {"interactive": pb.PRIORITY_INTERACTIVE, "bulk": pb.PRIORITY_BULK}
DTYPES = tuple(_ENCODINGS)


class Content(NamedTuple):
    """The content of one `Input`: the bytes that come before the payload, and the payload, not yet copied."""

    head: bytes
    body: Buffer

    @property
    def size(self) -> int:
        return len(self.head) + len(self.body)

    @property
    def file_bytes(self) -> int:
        """Bytes of the image file; 0 when it is something else."""
        return len(self.body) if self.head[:1] == _INPUT_IMAGE else 0

    @property
    def is_text(self) -> bool:
        return self.head[:1] == _INPUT_TEXT


def varint(value: int) -> bytes:
    """`value` >= 0 as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encoded_content(body: Buffer) -> Content:
    """`Input.image`: an image file."""
    return Content(_INPUT_IMAGE + varint(len(body)), body)


def text_content(text: bytes) -> Content:
    """`Input.text`, as UTF-8."""
    return Content(_INPUT_TEXT + varint(len(text)), text)


def raw_content(width: int, height: int, rgb: Buffer) -> Content:
    """`Input.raw_image`: `rgb` holds 3 * width * height bytes."""
    inner = _RAW_WIDTH + varint(width) + _RAW_HEIGHT + varint(height) + _RAW_RGB + varint(len(rgb))
    return Content(_INPUT_RAW_IMAGE + varint(len(inner) + len(rgb)) + inner, rgb)


def request_bytes(settings: bytes, contents: Sequence[Content], input_id: str = "") -> bytes:
    """A serialised request: `settings` (a request without inputs, serialised) and the inputs, in order."""
    tail = b""
    if input_id:
        name = input_id.encode("utf-8", "replace")  # a path may hold bytes that are no text
        tail = _INPUT_ID + varint(len(name)) + name
    parts: List[Buffer] = [settings]
    for content in contents:
        parts.append(_REQUEST_INPUT + varint(content.size + len(tail)) + content.head)
        parts.append(content.body)
        parts.append(tail)
    return b"".join(parts)


def batch_settings(dtype: str, normalize: bool, priority: str, expect_fingerprint: str) -> bytes:
    """An EmbedBatchRequest without inputs, serialised."""
    return pb.EmbedBatchRequest(
        encoding=_ENCODINGS[dtype],
        normalize=normalize,
        priority=PRIORITIES[priority],
        expect_fingerprint=expect_fingerprint,
    ).SerializeToString()


def stream_settings(dtype: str, normalize: bool, priority: str, expect_fingerprint: str) -> bytes:
    """The first EmbedStreamRequest without its input, serialised."""
    return pb.EmbedStreamRequest(
        encoding=_ENCODINGS[dtype],
        normalize=normalize,
        priority=PRIORITIES[priority],
        expect_fingerprint=expect_fingerprint,
    ).SerializeToString()


def rows(data: bytes, count: int, dimension: int, dtype: str) -> np.ndarray:
    """`data` as a read-only array [count, dimension] of `dtype`."""
    wire = _WIRE_DTYPES[dtype]
    if dimension <= 0 or len(data) != count * dimension * wire.itemsize:
        raise errors.ServerError(
            f"the answer holds {len(data)} bytes; {count} vectors of {dimension} numbers ({dtype}) take "
            f"{count * dimension * wire.itemsize}. Do client and server fit each other?"
        )
    return np.frombuffer(data, dtype=wire).reshape(count, dimension)


def check_encoding(response: pb.EmbedBatchResponse, dtype: str) -> None:
    """Raises when the server answered in another number format than the one asked for."""
    if response.encoding != _ENCODINGS[dtype]:
        raise errors.ServerError(f"asked for {dtype}, the server answered with encoding {response.encoding}")
