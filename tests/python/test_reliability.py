# SPDX-License-Identifier: Apache-2.0
"""Overload, outages, restarts, forks: nothing lost, nothing doubled, and an end in sight."""

import logging
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

import embedd
from embedd import EmbedClient, _fork
from embedd.v1 import embedding_service_pb2 as pb
from fake_server import Failure, FakeServer, images, queue_full, vectors

Code = grpc.StatusCode
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here")


def test_a_full_queue_is_waited_out(server, make_client):
    server.script = [queue_full(5), queue_full(5), None, queue_full(5)]
    client = make_client(server.target)
    assert np.array_equal(client.embed_images(images(100), batch_size=25), vectors(images(100)))
    assert len(server.requests) == 4 + 3 and sorted(server.answered) == sorted(images(100))


def test_the_servers_pushback_is_honoured(server, make_client):
    server.script = [queue_full(300)]
    arrivals = []
    server.before = lambda request: arrivals.append(time.monotonic())
    began = time.monotonic()
    make_client(server.target).embed_images(b"x")
    assert arrivals[-1] - began >= 0.3


@pytest.mark.parametrize("reason", ["", "CANCELLED"])
def test_a_server_that_cancels_what_is_left_when_it_shuts_down_is_tried_again(server, make_client, reason):
    server.script = [Failure(Code.CANCELLED, "the server went away", reason)] * 2
    assert np.array_equal(make_client(server.target).embed_images(images(3)), vectors(images(3)))
    assert len(server.requests) == 3


def test_a_negative_pushback_ends_the_call(server, make_client):
    server.script = [Failure(Code.UNAVAILABLE, "go away", "DRAINING", pushback_ms=-1)]
    with pytest.raises(embedd.ServerUnavailable):
        make_client(server.target).embed_images(b"x")
    assert len(server.requests) == 1


def test_a_call_that_can_never_fit_is_cut_until_it_does(server, make_client):
    client = make_client(server.target)
    client.server_info()
    server.limits.queue_images = 10  # the client does not know of it
    assert np.array_equal(client.embed_images(images(200)), vectors(images(200)))
    # What was learned is kept: later calls are small from the start.
    assert len(server.requests) < 200 / 8 * 2 and sorted(server.answered) == sorted(images(200))


def test_a_message_over_grpcs_own_limit_is_cut(make_client):
    with FakeServer(max_message_bytes=10_000) as server:
        server.limits.max_message_bytes = 1 << 20  # a proxy in between may know other limits
        contents = [bytes([number]) * 3000 for number in range(1, 20)]
        client = make_client(server.target)
        assert np.array_equal(client.embed_images(contents), vectors(contents))
        with pytest.raises(embedd.InvalidRequest, match="max-message-bytes"):
            client.embed_images(b"x" * 20_000)


def test_a_late_bulk_call_is_cut_and_an_interactive_one_fails(server, make_client):
    def too_slow_for_many(request):
        if len(request.inputs) > 3:
            raise Failure(Code.DEADLINE_EXCEEDED, "cannot be met", "DEADLINE")

    server.before = too_slow_for_many
    client = make_client(server.target)
    assert np.array_equal(client.embed_images(images(40)), vectors(images(40)))
    with pytest.raises(embedd.DeadlineExceeded):
        client.embed_images(images(4))
    with pytest.raises(embedd.DeadlineExceeded):
        client.embed_images(images(40), priority="interactive")


def test_a_bulk_call_that_is_refused_for_the_backlog_of_its_own_job_waits_and_is_not_cut(server, make_client):
    def busy(request):
        if server.running > 2:
            raise Failure(
                Code.DEADLINE_EXCEEDED, "cannot be met", "DEADLINE", metadata={"left_ms": "100", "needed_ms": "150"}
            )
        pause.wait(0.02)

    pause = threading.Event()
    server.before = busy
    assert np.array_equal(make_client(server.target).embed_images(images(200), batch_size=20), vectors(images(200)))
    assert len(server.requests) > 10 and min(len(request.inputs) for request in server.requests) >= 10


def test_the_timeout_reaches_the_server_and_ends_the_wait(server, make_client):
    release = threading.Event()
    server.before = lambda request: release.wait(20)
    client = make_client(server.target)
    client.server_info()
    began = time.monotonic()
    with pytest.raises(embedd.DeadlineExceeded, match=r"within 0\.[12] s"):
        client.embed_images(b"x", timeout=0.2)
    release.set()
    assert time.monotonic() - began < 10


def test_interactive_calls_end_by_their_timeout_retries_included(server, make_client):
    server.script = [queue_full(50)] * 1000
    began = time.monotonic()
    with pytest.raises(embedd.Overloaded, match="attempts") as caught:
        make_client(server.target).embed_images(b"x", timeout=3)
    assert time.monotonic() - began < 10 and len(server.requests) > 1
    # The last attempt may begin so late that it ends before the server hears of it.
    assert caught.value.attempts - len(server.requests) in (0, 1)


def test_a_job_ends_when_the_server_stays_away(make_client):
    with pytest.raises(embedd.ServerUnavailable, match="given up"):
        make_client("localhost:1").embed_images(images(100), retry_for=2)


def test_the_first_error_ends_the_job_and_leaves_nothing_behind(server, make_client):
    release = threading.Event()

    def fail_first_hold_others(request):
        if request.inputs[0].image == b"image-0":
            raise Failure(Code.INTERNAL, "boom", "BAD_OUTPUT")
        release.wait(20)

    server.before = fail_first_hold_others
    began = time.monotonic()
    with pytest.raises(embedd.ServerError, match="boom"):
        make_client(server.target).embed_images(images(600), batch_size=10)
    assert time.monotonic() - began < 10  # the calls that are held were cancelled, not awaited
    release.set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("embedd")]


def test_one_outage_is_one_warning_however_many_calls_notice(server, make_client, caplog):
    caplog.set_level(logging.WARNING, "embedd")
    server.script = [Failure(Code.UNAVAILABLE, "x", "DRAINING")] * 8
    make_client(server.target).embed_images(images(400), batch_size=10)
    messages = [record.getMessage() for record in caplog.records if record.name == "embedd"]
    away = [message for message in messages if "shutting down" in message]
    assert len(away) == len([message for message in messages if "answers again" in message]) and 1 <= len(away) <= 8
    assert len(server.requests) == 48


def test_a_job_survives_kill_9_and_restart_without_loss_or_double(start_server, make_client, caplog):
    process, port = start_server("--delay", "0.01")
    killed = []

    def source():
        for number, image in enumerate(images(3000)):
            if number in (700, 1900):
                running = killed[-1] if killed else process
                running.kill()
                running.wait()
                killed.append(start_server("--port", str(port), "--delay", "0.01")[0])
            yield image

    got = make_client(f"localhost:{port}").embed_images(source(), batch_size=20)
    assert len(killed) == 2
    assert np.array_equal(got, vectors(images(3000)))


def test_a_restart_with_another_model_ends_the_job(start_server, make_client):
    process, port = start_server()

    def source():
        for number, image in enumerate(images(2000)):
            if number == 700:
                process.kill()
                process.wait()
                start_server("--port", str(port), "--fingerprint", "fp-2")
            yield image

    with pytest.raises(embedd.ModelMismatch) as caught:
        make_client(f"localhost:{port}").embed_images(source(), batch_size=20)
    assert (caught.value.expected, caught.value.actual) == ("fp-1", "fp-2")


def test_an_answer_of_another_model_is_not_mixed_in_even_if_the_server_lets_it_through(server, make_client):
    def another_model_from_the_second_call_on(request):
        if request.inputs[0].image != b"image-0":
            return pb.EmbedBatchResponse(
                dimension=16, encoding=1, data=bytes(64 * len(request.inputs)), model_fingerprint="fp-2"
            )

    server.before = another_model_from_the_second_call_on
    with pytest.raises(embedd.ModelMismatch, match="must not be mixed"):
        make_client(server.target).embed_images(images(40), batch_size=20)


def test_limits_are_asked_again_after_an_outage(server, make_client):
    client = make_client(server.target)
    client.embed_images(b"x")
    server.script = [Failure(Code.UNAVAILABLE, "x", "DRAINING")]
    server.limits.max_inputs_per_request = 3  # what comes back is another server
    assert np.array_equal(client.embed_images(images(10)), vectors(images(10)))
    assert server.info_calls == 2 and max(len(request.inputs) for request in server.requests[2:]) == 3
    client.embed_images(images(10))
    assert server.info_calls == 2 and max(len(request.inputs) for request in server.requests[2:]) == 3


def test_threads_share_a_client(server, client):
    def work(number):
        mine = [b"%d-%d" % (number, index) for index in range(50)]
        return np.array_equal(client.embed_images(mine, batch_size=7), vectors(mine))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(40)))
    assert server.info_calls <= 12


def test_clients_travel_by_pickle_without_their_connection(server, make_client):
    with EmbedClient(server.target, timeout=7, token="t") as client:
        client.embed_images(b"x")
        with pickle.loads(pickle.dumps(client)) as copy:
            assert copy.target == client.target and copy.embed_images(b"x").shape == (1, 16)


@needs_fork
@pytest.mark.parametrize("scenario", ["idle", "busy", "generations", "pool"])
def test_forked_children_and_their_parent_use_one_client(start_server, scenario):
    _, port = start_server("--delay", "0.005")
    script = pathlib.Path(__file__).with_name("fork_scenarios.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), scenario, str(port)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Trying again" not in done.stderr  # a child that used its parent's connection would have to


class Order:
    """What happened, in order, and the threads that made it happen."""

    def __init__(self):
        self.events, self._threads = [], []

    def after(self, event, *work):
        """Does `work` in a thread, then notes `event`."""

        def run():
            for step in work:
                step()
            self.events.append(event)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self):
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@needs_fork
@pytest.mark.parametrize("batch_size", [None, 1])
def test_a_fork_waits_for_the_calls_under_way(server, client, batch_size):
    arrived, release = threading.Event(), threading.Event()
    order = Order()

    def hold(_request):
        arrived.set()
        assert release.wait(20)
        order.events.append("answered")

    client.server_info()
    server.before = hold
    order.after("call ended", lambda: client.embed_images(images(3), batch_size=batch_size))
    assert arrived.wait(20)
    running = []
    order.after("fork over", _fork._before, lambda: running.append(server.running), _fork._after_in_parent)
    time.sleep(0.2)  # time to fork too early
    release.set()
    order.join()
    assert order.events[0] == "answered" and running == [0]


@needs_fork
def test_calls_wait_while_a_fork_is_on(server, client):
    client.embed_images(b"x")
    order = Order()
    _fork._before()
    try:
        order.after("call ended", lambda: client.embed_images(b"y"))
        time.sleep(0.2)  # time to call too early
        requests = len(server.requests)
        order.events.append("fork over")
    finally:
        _fork._after_in_parent()
    order.join()
    assert requests == 1 and order.events == ["fork over", "call ended"]


@needs_fork
def test_a_call_that_is_stuck_does_not_hold_a_fork_for_ever(monkeypatch, caplog):
    monkeypatch.setattr(_fork, "MAX_FORK_WAIT_S", 0.05)
    gate = _fork.CallGate()
    with gate:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    assert "the child may fail" in caplog.text
    with gate:  # open again
        pass


def test_errors_of_pool_workers_arrive_as_they_are(start_server):
    _, port = start_server()
    client = EmbedClient(f"localhost:{port}", timeout=20)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(embedd.ImageRejected) as caught:
            pool.apply(client.embed_images, ([b"x", b"bad"],))
    assert caught.value.index == 1
