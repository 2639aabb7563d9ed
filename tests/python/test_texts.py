# SPDX-License-Identifier: Apache-2.0
"""embed_texts: the same road as images, another input."""

import asyncio

import numpy as np
import pytest

import embedd
from embedd import aio
from embedd.v1 import embedding_service_pb2 as pb
from fake_server import DIMENSION, text_content, vector, vectors

TEXTS = ["a red car", "", "naïve 東京 🚗", " two  spaces ", "nul\0inside", "line\nend"]


def expected(texts):
    return vectors([text_content(text) for text in texts])


def test_texts_travel_as_text_in_order_empty_ones_too(server, make_client):
    client = make_client(server.target)
    assert np.array_equal(client.embed_texts(TEXTS), expected(TEXTS))
    assert [one.text for one in server.requests[0].inputs] == TEXTS
    assert np.array_equal(client.embed_texts(iter(TEXTS)), expected(TEXTS))
    assert np.array_equal(client.embed_texts(np.array(TEXTS[:1])), expected(TEXTS[:1]))
    one = client.embed_texts("cat.jpg")  # a text, not a path
    assert one.shape == (1, DIMENSION) and np.array_equal(one, expected(["cat.jpg"]))
    assert client.embed_texts([]).shape == (0, DIMENSION)


def test_many_texts_are_several_calls_with_the_options_of_images(server, make_client):
    many = [f"text {number}" for number in range(300)]
    result = make_client(server.target).embed_texts_detailed(
        many, batch_size=50, dtype="float16", normalize=False, priority="interactive"
    )
    assert [call.images for call in result.calls] == [50] * 6 and result.fingerprint == "fp-1"
    rows = np.stack([vector(text_content(text), normalize=False) for text in many])
    assert np.array_equal(result.vectors, rows.astype(np.float16))
    assert {request.priority for request in server.requests} == {pb.PRIORITY_INTERACTIVE}


def test_a_text_that_fails_fails_alone_and_is_named_as_a_text(server, make_client):
    passed = ["good", "bad text", "lone \ud800 surrogate", "fine"]
    client = make_client(server.target)
    result = client.embed_texts_detailed(passed)
    assert [(error.index, error.reason) for error in result.errors] == [(1, "CORRUPT_IMAGE"), (2, "INVALID_TEXT")]
    assert all(isinstance(error, embedd.TextRejected) and "texts[" in str(error) for error in result.errors)
    assert np.array_equal(result.vectors[[0, 3]], expected(["good", "fine"]))
    with pytest.raises(embedd.TextRejected):
        client.embed_texts(passed)


@pytest.mark.parametrize("wrong", [b"bytes", [b"bytes"], [3], None, {"a": "b"}, ["ok", None]])
def test_what_is_no_text_is_refused(client, wrong):
    with pytest.raises(TypeError, match="cannot embed"):
        client.embed_texts(wrong)


def test_texts_stream_in_order_with_their_ids(server, make_client):
    pairs = [(f"id-{number}", f"text {number}") for number in range(200)]
    results = list(make_client(server.target).embed_texts_stream(iter(pairs), streams=2))
    assert [(one.index, one.id) for one in results] == [(number, name) for number, (name, _) in enumerate(pairs)]
    assert np.array_equal(np.stack([one.vector for one in results]), expected([text for _, text in pairs]))


def test_asynchronous_iterators_of_texts_are_read(server):
    async def source():
        for text in TEXTS:
            yield text

    async def main():
        async with aio.EmbedClient(server.target) as client:
            return await client.embed_texts(source()), [one.vector async for one in client.embed_texts_stream(source())]

    rows, streamed = asyncio.run(main())
    assert np.array_equal(rows, expected(TEXTS)) and np.array_equal(np.stack(streamed), expected(TEXTS))
