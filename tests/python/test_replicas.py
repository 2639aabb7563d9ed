# SPDX-License-Identifier: Apache-2.0
"""Several servers for one client: shared work, nothing lost or doubled, whatever one of them does."""

import logging
import threading
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

import embedd
from embedd.v1 import embedding_service_pb2 as pb
from fake_server import Failure, FakeServer, gone, images, queue_full, vectors

Code = grpc.StatusCode


@pytest.fixture
def servers():
    """Three fake servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(3)]


def targets(servers):
    return [server.target for server in servers]


@pytest.mark.parametrize("form", ["list", "commas", "environment", "ipv4"])
def test_one_job_uses_all_servers_and_each_image_once(servers, make_client, monkeypatch, form):
    together = ",".join(targets(servers))
    together = {"list": targets(servers), "ipv4": "ipv4:" + together.replace("localhost", "127.0.0.1")}.get(form, together)
    if form == "environment":
        monkeypatch.setenv("EMBEDD_TARGET", together)
        together = None
    got = make_client(together).embed_images(images(600), batch_size=10)
    assert np.array_equal(got, vectors(images(600)))
    assert sorted(sum((server.answered for server in servers), [])) == sorted(images(600))
    assert all(server.answered for server in servers)


def test_an_answer_that_takes_long_does_not_hold_the_others_up(make_client):
    """One replica keeps its first call until all the rest is done; two calls ahead was as far as a job went."""
    with FakeServer() as stuck, FakeServer() as quick:
        rest_done = threading.Event()
        stuck.before = lambda request: rest_done.wait(20)

        def count(request):
            if len(quick.answered) + len(request.inputs) + 8 * 10 >= 400:
                rest_done.set()

        quick.before = count
        got = make_client([stuck.target, quick.target]).embed_images(images(400), batch_size=10)
        assert np.array_equal(got, vectors(images(400))) and rest_done.is_set()
        assert len(stuck.requests) <= 8


def test_an_iterator_is_read_lazily_while_the_oldest_answer_is_out(make_client):
    with FakeServer() as server:
        read, release = [], threading.Event()

        def hold_the_first(request):
            if request.inputs[0].image == b"image-0":
                assert release.wait(20)

        server.before = hold_the_first

        def source():
            for image in images(500):
                read.append(len(read) - len(server.answered))
                if len(read) > 300:
                    release.set()
                yield image

        assert np.array_equal(make_client(server.target).embed_images(source(), batch_size=5), vectors(images(500)))
        assert max(read) <= (8 + 2 + 1) * 5 + 5


@pytest.mark.parametrize("failure", [Failure(Code.UNAVAILABLE, "x", "DRAINING"), queue_full(60_000)])
def test_a_refused_call_goes_to_another_server_at_once(servers, make_client, failure):
    """Were it to wait for what the first one asks, it would wait for a minute, and the call has two seconds."""
    refusing, *others = servers
    refusing.before = lambda request: (_ for _ in ()).throw(failure)
    client = make_client(targets(servers), timeout=2)
    for number in range(12):
        assert client.embed_images(b"%d" % number).shape == (1, 16)
    assert len(refusing.requests) <= 4 and sum(len(server.answered) for server in others) == 12


def test_a_server_that_is_killed_in_mid_job_costs_nothing_but_a_warning(start_server, make_client, caplog):
    first, port = start_server("--delay", "0.01")
    _, other = start_server("--delay", "0.01")
    client = make_client([f"localhost:{port}", f"localhost:{other}"])

    def source():
        for number, image in enumerate(images(1000)):
            if number == 400:
                first.kill()
                first.wait()
            yield image

    assert np.array_equal(client.embed_images(source(), batch_size=5), vectors(images(1000)))
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1 and str(port) in told[0] and "other servers" in told[0]
    start_server("--port", str(port))
    assert np.array_equal(client.embed_images(images(200), batch_size=5), vectors(images(200)))


def test_a_server_that_is_away_from_the_start_is_left_out(servers, make_client):
    client = make_client([gone(), servers[0].target])
    assert np.array_equal(client.embed_images(images(100), batch_size=5), vectors(images(100)))


def test_with_all_servers_away_the_error_comes_when_its_time_is_over(make_client):
    with pytest.raises(embedd.ServerUnavailable, match="127.0.0.1"):
        make_client([gone(), gone()]).embed_images(b"x", retry_for=0.5)


def test_two_models_are_a_mismatch_that_names_both_servers(make_client):
    with FakeServer(fingerprint="fp-1") as one, FakeServer(fingerprint="fp-2") as two:
        client = make_client([one.target, two.target])
        for call in (
            lambda: client.embed_images(images(200), batch_size=5),
            lambda: list(client.embed_stream(images(200), streams=2)),
        ):
            with pytest.raises(embedd.ModelMismatch) as caught:
                call()
            assert one.target in str(caught.value) and two.target in str(caught.value)
            assert {caught.value.expected, caught.value.actual} == {"fp-1", "fp-2"}


def test_calls_in_flight_grow_with_the_servers(make_client):
    with ExitStack() as stack:
        running = [stack.enter_context(FakeServer(workers=8)) for _ in range(3)]
        together, most = threading.Barrier(12), []
        for server in running:
            server.before = lambda request: most.append(sum(one.running for one in running)) or together.wait(20)
        make_client(targets(running)).embed_images(images(64 * 24))
        assert max(most) == 12


def test_each_server_gets_what_it_takes(make_client):
    with FakeServer(max_message_bytes=40_000) as small, FakeServer() as large:
        small.limits.max_inputs_per_request = 3
        small.limits.max_image_bytes = 2_000
        contents = [bytes([number]) * 1500 for number in range(1, 60)] + [b"z" * 100_000, b"y" * 3_000]
        got = make_client([small.target, large.target]).embed_images(contents)
        assert np.array_equal(got, vectors(contents))
        assert small.answered and large.answered
        assert max(len(request.inputs) for request in small.requests) <= 3
        assert max(map(len, small.answered)) <= 2_000


def test_unimplemented_after_a_success_is_a_broken_proxy(server, make_client, caplog):
    client = make_client(server.target)
    client.embed_images(b"x")
    server.script = [None, Failure(Code.UNIMPLEMENTED, ""), Failure(Code.UNIMPLEMENTED, "")]
    assert np.array_equal(client.embed_images(images(50), batch_size=10), vectors(images(50)))
    assert caplog.text.count("Switch its retries off") == 1


def test_a_server_that_says_it_does_not_serve_gets_no_calls_until_it_does(servers, make_client):
    """A replica that drains still answers for a while; it must be left before it refuses anything."""
    for server in servers:
        server.serving = True
    leaving, seen = servers[0], []

    def source():
        for number, image in enumerate(images(60_000)):
            yield image
            if number == 100:
                leaving.serving = False
            if number % 500 == 499:
                seen.append(len(leaving.requests))
                if leaving.serving is False and len(seen) > 1 and seen[-1] == seen[-2]:
                    leaving.serving = True
                    left_at = seen[-1]
                elif number > 500 and leaving.serving and seen[-1] > left_at:
                    return
        raise AssertionError(f"it was asked all the time, or never again: {seen}")

    client = make_client(targets(servers))
    got = client.embed_images(source(), batch_size=2)
    assert np.array_equal(got, vectors(images(len(got))))


def test_a_server_that_loads_gets_no_call(servers, make_client):
    loading, ready = servers[:2]
    loading.serving, ready.serving, loading.state = False, True, pb.GetServerInfoResponse.LOADING
    assert np.array_equal(make_client(targets(servers[:2])).embed_images(images(200), batch_size=5), vectors(images(200)))
    assert not loading.requests


@pytest.mark.parametrize("many", [1, 3])
def test_several_streams_use_several_servers_and_keep_the_order(servers, make_client, many):
    results = list(make_client(targets(servers)).embed_stream(iter(images(900)), streams=many))
    assert [result.index for result in results] == list(range(900))
    assert np.array_equal(np.stack([result.vector for result in results]), vectors(images(900)))
    assert sum(server.streams for server in servers) == many
    assert sum(bool(server.streams) for server in servers) == many


def test_a_stream_whose_server_goes_away_goes_on_at_another(servers, make_client, caplog):
    def fail(stream, messages):
        if messages == 20:
            raise Failure(Code.UNAVAILABLE, "x", "DRAINING")

    for server in servers[:2]:
        server.on_stream = fail
    mixed = images(400)
    mixed[3] = mixed[399] = "/absent"
    results = list(make_client(targets(servers)).embed_stream(iter(mixed), streams=2))
    assert [result.index for result in results] == list(range(400))
    good = [result for result in results if result.error is None]
    assert len(good) == 398
    assert np.array_equal(np.stack([one.vector for one in good]), vectors([mixed[one.index] for one in good]))


@pytest.mark.parametrize("streams", [0, 65, "2"])
def test_a_senseless_number_of_streams_is_refused(make_client, streams):
    with pytest.raises(ValueError, match="streams"):
        list(make_client("localhost:1").embed_stream([b"x"], streams=streams))
