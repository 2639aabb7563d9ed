# SPDX-License-Identifier: Apache-2.0
"""embed_stream: every image answered once, in order, through broken streams, with a bounded look-ahead."""

import asyncio
import threading

import grpc
import numpy as np
import pytest

import embedd
from embedd import EmbedClient, _stream
from fake_server import Failure, images, queue_full, vector

Code = grpc.StatusCode


def check(results, expected):
    assert [result.index for result in results] == list(range(len(expected)))
    for result, image in zip(results, expected):
        assert result.error is None and np.array_equal(result.vector, vector(image)) and result.vector.flags.writeable


def test_every_image_is_answered_in_order_with_its_id(server, make_client):
    pairs = [(f"id-{number}", image) for number, image in enumerate(images(300))]
    results = list(make_client(server.target).embed_stream(iter(pairs)))
    check(results, images(300))
    assert [result.id for result in results] == [name for name, _ in pairs]
    assert {result.fingerprint for result in results} == {"fp-1"}


def test_an_empty_stream_ends(server, make_client):
    assert list(make_client(server.target).embed_stream([])) == []


def test_images_that_fail_are_results_in_their_place(server, make_client):
    mixed = ["/none", b"a", b"bad", "/nothing", "/here", b"c", "/last"]
    results = list(make_client(server.target).embed_stream(mixed))
    assert [result.index for result in results] == list(range(7))
    assert [result.error.reason if result.error else "ok" for result in results] == [
        "UNREADABLE",
        "ok",
        "CORRUPT_IMAGE",
        "UNREADABLE",
        "UNREADABLE",
        "ok",
        "UNREADABLE",
    ]
    assert [result.error.index for result in results if result.error] == [0, 2, 3, 4, 6]
    assert all((result.vector is None) == (result.error is not None) for result in results)


@pytest.mark.parametrize("failure", [Failure(Code.UNAVAILABLE, "x", "DRAINING", 5), queue_full(5)])
def test_a_broken_stream_goes_on_where_it_was(server, make_client, failure):
    def break_twice(stream, messages):
        if (stream, messages) in ((1, 40), (2, 0), (3, 100)):
            raise failure

    server.on_stream = break_twice
    mixed = images(300)
    mixed[37] = mixed[41] = "/absent"
    results = list(make_client(server.target).embed_stream(iter(mixed)))
    assert server.streams == 4
    assert [result.index for result in results] == list(range(300))
    good = [result for result in results if result.error is None]
    assert len(good) == 298
    assert all(np.array_equal(result.vector, vector(mixed[result.index])) for result in good)


def test_another_model_after_a_broken_stream_ends_it(server, make_client):
    def change(stream, messages):
        if stream == 1 and messages == 10:
            server.fingerprint = "fp-2"
            raise Failure(Code.UNAVAILABLE, "x", "DRAINING")

    server.on_stream = change
    with pytest.raises(embedd.ModelMismatch):
        list(make_client(server.target).embed_stream(images(50)))


def test_a_stream_that_stays_broken_is_given_up(make_client):
    with pytest.raises(embedd.ServerUnavailable):
        list(make_client("localhost:1").embed_stream(images(3), retry_for=0.2))


def test_a_server_without_streams_says_so(server, make_client):
    server.on_stream = lambda stream, messages: (_ for _ in ()).throw(Failure(Code.UNIMPLEMENTED, "not yet"))
    with pytest.raises(embedd.InvalidRequest, match="not yet"):
        list(make_client(server.target).embed_stream(images(3)))


def test_an_error_in_the_callers_iterator_comes_after_the_answers_before_it(server, make_client):
    def breaks():
        yield from images(5)
        raise KeyError("mine")

    results = []
    with pytest.raises(KeyError, match="mine"):
        for result in make_client(server.target).embed_stream(breaks()):
            results.append(result)
    check(results, images(5))


class Halt(BaseException):
    """What pools and event loops of others end their workers with."""


@pytest.mark.parametrize("kind", [SystemExit, asyncio.CancelledError, Halt])
def test_whatever_ends_the_callers_iterator_ends_the_stream(server, make_client, kind):
    def breaks():
        yield b"x"
        raise kind("mine")

    ended = []

    def read():
        try:
            list(make_client(server.target).embed_stream(breaks()))
        except BaseException as error:
            ended.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    assert [type(error) for error in ended] == [kind]


def test_options_travel_with_the_first_message(server, make_client):
    client = make_client(server.target)
    results = list(client.embed_stream([b"a", b"b"], dtype="float16", normalize=False))
    assert all(
        result.vector.dtype == np.float16 and np.linalg.norm(result.vector.astype(float)) > 2 for result in results
    )
    with pytest.raises(embedd.ModelMismatch):
        list(client.embed_stream([b"a"], expect_fingerprint="other"))


def test_reading_stays_within_the_window_while_nobody_takes_answers(server, make_client):
    held = threading.Event()
    server.on_stream = lambda stream, messages: messages == 0 or held.wait(20)
    furthest = 0
    read = 0

    def source():
        nonlocal read
        for image in images(2000):
            read += 1
            yield image

    def let_go():
        if read >= _stream.WINDOW_IMAGES:
            held.set()

    def watched():
        nonlocal furthest
        for image in source():
            furthest = max(furthest, read - len(server.answered))
            let_go()
            yield image

    check(list(make_client(server.target).embed_stream(watched())), images(2000))
    assert furthest <= _stream.WINDOW_IMAGES + 1


def test_closing_the_generator_ends_the_call(server):
    with EmbedClient(server.target) as client:
        results = client.embed_stream(iter(images(1000)))
        assert next(results).index == 0
        results.close()
        assert client.embed_images(b"x").shape == (1, 16)
