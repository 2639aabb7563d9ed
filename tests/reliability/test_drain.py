# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, whatever the server is doing: what was accepted is answered, and right; the rest is told to come back; 0."""

import collections
import io
import os
import random
import re
import signal
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
from PIL import Image

from embedd.v1 import embedding_service_pb2 as pb
from harness import MODEL, NIGHTLY, Server, figure, health, pushback, reason, request, rows, stub, wait_for
from real_server import BINARY

Code = grpc.StatusCode
DRAIN_SECONDS = 20
CLOSE = 1e-5


def was_not_accepted(error):
    """Told to come back by the server; or, without a word of ours, by gRPC when the connection was gone already."""
    return error.code() is Code.UNAVAILABLE and reason(error) in ("DRAINING", "MODEL_LOADING", "")


@pytest.fixture(scope="module")
def known(slow_model):
    """The vectors of pictures 0 to 15, by the demo model and by the slow one."""
    vectors = {}
    for model in (MODEL, slow_model):
        with Server(model=model) as server, server.channel() as channel:
            vectors[model] = rows(stub(channel).EmbedBatch(request(*range(16))))
    return vectors


class Callers:
    """Threads that call one after the other until the server is gone, and keep what they got."""

    def __init__(self, server, count=4, size=4, make=None, **fields):
        self._server, self._size, self._fields = server, size, fields
        self._make = make or (lambda numbers: request(*numbers, **fields))
        self.answers, self.failures, self._lock = [], [], threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _call(self, seed):
        chance = random.Random(seed)
        with self._server.channel() as channel:
            while True:
                numbers = [chance.randrange(16) for _ in range(self._size)]
                try:
                    answer = stub(channel).EmbedBatch(self._make(numbers), timeout=60)
                except grpc.RpcError as error:
                    with self._lock:
                        self.failures.append(error)
                    if error.code() is Code.UNAVAILABLE:
                        return
                    time.sleep(pushback(error) or 0)
                else:
                    with self._lock:
                        self.answers.append((numbers, answer))

    def join(self):
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a call hangs"


def photo():
    """A picture that takes long to decode."""
    out = io.BytesIO()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)).resize((2000, 1500)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def at_decode(server):
    content = photo()
    callers = Callers(server, count=2, make=lambda numbers: pb.EmbedBatchRequest(inputs=[pb.Input(image=content)] * 2))
    wait_for(lambda: server.metric("embedd_queue_bytes") > len(content), "no picture arrives")
    return callers


def at_queue(server):
    callers = Callers(server, count=6, size=16)
    wait_for(lambda: server.metric("embedd_queue_images") > 32, "no queue builds up")
    return callers


def at_execution(server):
    callers = Callers(server, count=1, size=16)
    wait_for(lambda: server.metric("embedd_batch_size_count") > 0, "nothing runs")
    return callers


def at_reply(server):
    # Answers as readable lists are the largest there are: thousands of small calls, so that one is always on its way.
    callers = Callers(server, count=4, size=8, encoding=pb.ENCODING_FLOAT_LIST)
    wait_for(lambda: server.images("ok") > 100, "nothing is answered")
    return callers


def offloaded(server):
    done = subprocess.run([str(BINARY.with_name("embedctl")), "--target", server.target, "offload"], timeout=60)
    assert done.returncode == 0
    return Callers(server, count=1)


def full_queue(server):
    callers = Callers(server, count=12, size=4)
    wait_for(lambda: server.images("refused") > 0, "the queue does not fill")
    return callers


STAGES = {
    "decode": (at_decode, False, ()),
    "queued": (at_queue, True, ()),
    "executing": (at_execution, True, ()),
    "replying": (at_reply, False, ()),
    "offloaded": (offloaded, False, ()),
    "full queue": (full_queue, True, ("--queue-images", "16")),
}


def vectors_of(answer):
    if answer.vectors:
        return np.array([vector.values for vector in answer.vectors], np.float32)
    return rows(answer)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("run", range(7 if NIGHTLY else 1))
def test_sigterm_while(stage, run, known, slow_model):
    prepare, slow, flags = STAGES[stage]
    model = slow_model if slow else MODEL
    with Server("--drain-timeout", f"{DRAIN_SECONDS}s", *flags, model=model) as server:
        callers = prepare(server)
        time.sleep(random.Random(f"{stage}{run}").uniform(0, 0.05))  # another moment in every run
        began = time.monotonic()
        assert server.terminate() == 0
        took = time.monotonic() - began
        callers.join()
        for numbers, answer in callers.answers:
            assert not answer.errors
            if stage != "decode":
                assert np.abs(vectors_of(answer) - known[model][numbers]).max() < CLOSE
        for error in callers.failures:
            if error.code() is Code.RESOURCE_EXHAUSTED:
                assert reason(error) == "QUEUE_FULL" and pushback(error) > 0
            else:
                assert was_not_accepted(error), error
        told = [re.search(r"drained +accepted=(\d+) +answered=(\d+) +cancelled=(\d+)", line) for line in server.log]
        accepted, answered, cancelled = next(map(int, found.groups()) for found in told if found)
        assert accepted == answered and cancelled == 0
        assert took < DRAIN_SECONDS + 5
    figure(f"SIGTERM while {stage}: exit 0 after {took:.2f} s; {len(callers.answers)} calls answered, "
           f"{len(callers.failures)} told to come back")


@pytest.mark.parametrize("run", range(4 if NIGHTLY else 1))
def test_sigterm_while_loading(run, slow_model):
    server = Server(model=slow_model, wait=False)
    try:
        with server.channel() as channel:
            time.sleep(run * 0.1)
            call = stub(channel).EmbedBatch.future(request(1), timeout=60)
            server.signal()
            assert call.code() is Code.OK or was_not_accepted(call)
            assert server.wait(DRAIN_SECONDS) == 0
    finally:
        if server.running():
            server.kill()


@pytest.mark.parametrize("run", range(4 if NIGHTLY else 1))
def test_sigterm_with_an_open_stream(run, known):
    """Everything that the server took in is answered, in order, before the stream ends."""
    with Server(model=MODEL) as server, server.channel() as channel:
        sent, stop = [], threading.Event()

        def inputs():
            while not stop.is_set():
                sent.append(len(sent) % 16)
                yield pb.EmbedStreamRequest(input=request(sent[-1]).inputs[0])

        stream = stub(channel).EmbedStream(inputs())
        answers = []
        with pytest.raises(grpc.RpcError) as caught:
            for answer in stream:
                answers.append(answer)
                if len(answers) == 100 + 37 * run:
                    server.signal()
        stop.set()
        assert server.wait(DRAIN_SECONDS) == 0
        assert caught.value.code() is Code.UNAVAILABLE and reason(caught.value) == "DRAINING"
        assert [answer.index for answer in answers] == list(range(len(answers)))
        got = np.stack([np.frombuffer(answer.data, "<f4") for answer in answers])
        assert np.abs(got - known[MODEL][np.arange(len(got)) % 16]).max() < CLOSE
        assert int(answers[-1].id) == sent[len(answers) - 1]


def test_what_the_drain_timeout_cuts_off_is_told_to_try_elsewhere(slow_model):
    """Not CANCELLED, which callers take for their own doing: UNAVAILABLE, so that they try again."""
    with Server("--drain-timeout", "200ms", model=slow_model) as server:
        with server.channel() as channel:
            calls = [stub(channel).EmbedBatch.future(request(*range(64)), timeout=60) for _ in range(8)]
            wait_for(lambda: server.metric("embedd_queue_images") > 256, "no queue builds up")
            stream = stub(channel).EmbedStream(pb.EmbedStreamRequest(input=request(1).inputs[0]) for _ in range(50))
            assert server.terminate() == 0
            codes = {call.code() for call in calls}
            assert Code.UNAVAILABLE in codes and codes <= {Code.OK, Code.UNAVAILABLE}
            assert {reason(call) for call in calls if call.code() is not Code.OK} == {"DRAINING"}
            assert all(pushback(call) > 0 for call in calls if call.code() is not Code.OK)
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
            assert caught.value.code() is Code.UNAVAILABLE


@pytest.mark.parametrize("run", range(50 if NIGHTLY else 3))
def test_sigterm_under_64_callers_that_never_pause(run):
    """Nobody hears CANCELLED, which is final to every client: an answer, or UNAVAILABLE, with which they try again."""
    codes, ended = collections.Counter(), threading.Semaphore(0)
    with Server(model=MODEL) as server:
        channels = [server.channel() for _ in range(8)]

        def call(stub_, content):
            future = stub_.EmbedBatch.future(content, timeout=60)
            future.add_done_callback(lambda done: after(done, stub_, content))

        def after(done, stub_, content):
            codes[done.code()] += 1
            # Those who are told DRAINING come back at once, so that calls arrive until the very end.
            if done.code() is Code.OK or (done.code() is Code.UNAVAILABLE and reason(done)):
                call(stub_, content)
            else:
                ended.release()

        for caller in range(64):
            call(stub(channels[caller % 8]), request(caller % 16))
        time.sleep(random.Random(run).uniform(0.05, 0.5))
        assert server.terminate() == 0
        for _ in range(64):
            assert ended.acquire(timeout=60), "a call hangs"
        for channel in channels:
            channel.close()
    assert set(codes) <= {Code.OK, Code.UNAVAILABLE}, codes
    figure(f"SIGTERM under 64 callers: {codes[Code.OK]} answered, {codes[Code.UNAVAILABLE]} UNAVAILABLE")


def test_a_second_signal_ends_it_at_once(slow_model):
    with Server(model=slow_model) as server, server.channel() as channel:
        call = stub(channel).EmbedBatch.future(request(*range(512)))
        wait_for(lambda: server.metric("embedd_queue_images") > 256, "no queue builds up")
        server.signal()
        wait_for(lambda: health(channel) == "NOT_SERVING", "no drain begins")
        server.signal(signal.SIGINT)
        assert server.wait(10) == 130
        assert call.code() is Code.UNAVAILABLE
    assert not os.path.exists(f"/proc/{server.pid}")
