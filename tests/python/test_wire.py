# SPDX-License-Identifier: Apache-2.0
"""Requests written by hand read the same through protobuf; answers are checked before they are believed."""

import random

import numpy as np
import pytest

from embedd import ServerError, _wire
from embedd.v1 import embedding_service_pb2 as pb


def test_requests_written_by_hand_equal_those_of_protobuf():
    rng = random.Random(1)
    for _ in range(200):
        expected = pb.EmbedBatchRequest(
            encoding=rng.choice([1, 2]),
            normalize=rng.random() < 0.5,
            priority=rng.choice([1, 2]),
            expect_fingerprint=rng.choice(["", "f" * rng.randrange(300)]),
        )
        contents = []
        for _ in range(rng.randrange(5)):
            if rng.random() < 0.5:
                body = rng.randbytes(rng.choice([1, 127, 128, 20_000]))
                expected.inputs.add(image=body)
                contents.append(_wire.encoded_content(body))
            else:
                width, height = rng.randrange(1, 300), rng.randrange(1, 9)
                body = rng.randbytes(3 * width * height)
                expected.inputs.add(raw_image=pb.RawImage(width=width, height=height, rgb=body))
                contents.append(_wire.raw_content(width, height, memoryview(body)))
        settings = _wire.batch_settings(
            {1: "float32", 2: "float16"}[expected.encoding],
            expected.normalize,
            {1: "interactive", 2: "bulk"}[expected.priority],
            expected.expect_fingerprint,
        )
        assert pb.EmbedBatchRequest.FromString(_wire.request_bytes(settings, contents)) == expected


def test_a_stream_message_carries_settings_input_and_id():
    settings = _wire.stream_settings("float16", False, "bulk", "fp")
    made = pb.EmbedStreamRequest.FromString(
        _wire.request_bytes(settings, [_wire.encoded_content(b"abc")], "na\u00efve")
    )
    assert made == pb.EmbedStreamRequest(
        input=pb.Input(image=b"abc", id="na\u00efve"),
        encoding=pb.ENCODING_FLOAT16,
        normalize=False,
        priority=pb.PRIORITY_BULK,
        expect_fingerprint="fp",
    )


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_varints_are_those_of_protobuf(value):
    assert b"\x08" + _wire.varint(value) == (pb.Timing(decode_ns=value).SerializeToString() or b"\x08\x00")


def test_rows_are_read_little_endian_and_their_number_is_checked():
    data = np.arange(6, dtype="<f4").tobytes()
    assert _wire.rows(data, 2, 3, "float32").tolist() == [[0, 1, 2], [3, 4, 5]]
    for count, dimension in ((2, 4), (3, 3), (2, 0), (0, 3)):
        with pytest.raises(ServerError, match="24 bytes"):
            _wire.rows(data, count, dimension, "float32")
