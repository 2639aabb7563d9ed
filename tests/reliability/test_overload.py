# SPDX-License-Identifier: Apache-2.0
"""Ten times more work than the server can do, and callers that change their mind."""

import random
import statistics
import threading
import time

import grpc
import numpy as np

from harness import MIB, NIGHTLY, Load, Server, figure, health, percentile, request, rows, stub

Code = grpc.StatusCode
QUEUE_IMAGES, QUEUE_BYTES, MESSAGE_BYTES, LATENCY_TARGET_MS = 128, 64 * MIB, MIB, 200
# What gRPC may hold before a handler sees it: server/rpc/grpc_server.cc.
GRPC_BYTES = 2 * QUEUE_BYTES + 8 * MESSAGE_BYTES
CALLERS, IMAGES_PER_CALL = 64, 4


def latencies(channel, seconds):
    """Of single-image calls, one after the other, in ms."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        stub(channel).EmbedBatch(request(1), timeout=30)
        took.append((time.monotonic() - start) * 1e3)
    return took


class HealthWatch:
    """Asks for the server's health over and over while it is open."""

    def __init__(self, channel):
        self._channel, self.seen, self._stop = channel, set(), threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._stop.wait(0.1):
            self.seen.add(health(self._channel))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._stop.set()
        self._thread.join()


def test_at_ten_times_the_capacity_everybody_gets_an_answer_and_the_device_does_as_much_as_ever(slow_model):
    maximum_seconds, seconds = (15, 60) if NIGHTLY else (2, 6)
    flags = ("--queue-images", str(QUEUE_IMAGES), "--queue-bytes", str(QUEUE_BYTES),
             "--max-message-bytes", str(MESSAGE_BYTES))
    closed = ("--callers", "16", "--images", str(IMAGES_PER_CALL), "--channels", "16")
    with Server(*flags, model=slow_model) as server, server.channel() as channel:
        cpu = server.cpu_seconds()
        maximum = [Load(server, *closed, seconds=maximum_seconds).result()["images_per_second"]]
        usual_efficiency = server.images("ok") / (server.cpu_seconds() - cpu)
        calm = latencies(channel, 1)
        rest, counted = server.resident(), server.all_images()
        batched = server.metric("embedd_batch_size_sum")
        queue = server.histogram('embedd_stage_seconds_bucket{stage="queue"')
        server.forget_peak()
        cpu = server.cpu_seconds()

        # Calls come at random times whatever the server answers: nobody waits politely. A quarter is in a hurry.
        def load(share, connections, timeout):
            rate = share * 10 * maximum[0] / IMAGES_PER_CALL
            return Load(server, "--rate", f"{rate:.1f}", "--images", str(IMAGES_PER_CALL), "--channels", str(connections),
                        seconds=seconds, timeout=timeout)

        with HealthWatch(channel) as watch:
            patient, hasty = load(0.75, CALLERS * 3 // 4, "30s"), load(0.25, CALLERS // 4, "400ms")
            patient, hasty = patient.result(), hasty.result()
        cpu = server.cpu_seconds() - cpu
        waited = percentile(queue, server.histogram('embedd_stage_seconds_bucket{stage="queue"'), 0.99)
        after = latencies(channel, 3)
        peak = server.peak_resident()
        server.expect_rest()
        sent = IMAGES_PER_CALL * (patient["calls"] + hasty["calls"])
        counted = server.all_images() - counted - len(after)
        ran = server.metric("embedd_batch_size_sum") - batched - len(after)
        maximum.append(Load(server, *closed, seconds=maximum_seconds).result()["images_per_second"])

        assert watch.seen == {"SERVING"}
        assert patient["errors"].keys() == {"RESOURCE_EXHAUSTED"}
        assert hasty["errors"].keys() <= {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
        for result in (patient, hasty):
            assert result["refused_without_pushback"] == 0
            assert result["failed_inputs"] == result["not_sent"] == 0
            assert result["ok"] + sum(result["errors"].values()) == result["calls"]
        # What the caller gave up before it was sent is all that the server may not have seen.
        assert sent - IMAGES_PER_CALL * hasty["errors"].get("DEADLINE_EXCEEDED", 0) <= counted <= sent
        assert IMAGES_PER_CALL * (patient["ok"] + hasty["ok"]) <= ran
        # Wide for a shared machine; without deadlines, or with a queue that hurts, it is a fraction.
        assert patient["images_per_second"] + hasty["images_per_second"] >= 0.5 * min(maximum)
        # What ran was for somebody who still waited, and what is over is over.
        assert IMAGES_PER_CALL * (patient["ok"] + hasty["ok"]) >= 0.8 * ran
        assert statistics.median(after[2 * len(after) // 3:]) <= 5 * statistics.median(calm) + LATENCY_TARGET_MS
        assert peak <= 1.2 * (rest + QUEUE_BYTES + GRPC_BYTES)

    goodput = patient["images_per_second"] + hasty["images_per_second"]
    offered = sent / seconds
    usual = statistics.mean(maximum)
    # server/batching/batch_former.h: k-th of its flow, F flows. Two calls of one connection may wait.
    bound = 2 * LATENCY_TARGET_MS + 1e3 * (2 * IMAGES_PER_CALL) * (CALLERS * 3 // 4) / goodput
    figure(f"offered {offered:.0f} images/s = {offered / usual:.1f} x the maximum of {usual:.0f}; goodput {goodput:.0f} "
           f"= {100 * goodput / usual:.0f} % (maximum before {maximum[0]:.0f}, after {maximum[1]:.0f})")
    figure(f"calls: {patient['ok'] + hasty['ok']} OK, refused {patient['errors']}, in a hurry {hasty['errors']}")
    figure(f"images for a second of the server's CPU: {ran / cpu:.0f}, usually {usual_efficiency:.0f}: "
           f"{100 * ran / cpu / usual_efficiency:.0f} %")
    figure(f"p99 of accepted images in the queue at most {1e3 * waited:.0f} ms, of accepted calls as their callers see it "
           f"{patient['latency_ms']['p99']:.0f} ms; bound {bound:.0f} ms")
    figure(f"memory: at rest {rest / MIB:.0f} MiB, peak {peak / MIB:.0f} MiB, budget "
           f"{(rest + QUEUE_BYTES + GRPC_BYTES) / MIB:.0f} MiB (rest, queue, gRPC)")
    half = len(after) // 3
    figure(f"one image alone, median: before {statistics.median(calm):.1f} ms, in the first second after "
           f"{statistics.median(after[:half]):.1f} ms, later {statistics.median(after[2 * half:]):.1f} ms")


def test_no_device_work_for_calls_cancelled_behind_a_long_one(slow_model):
    with Server(model=slow_model) as server, server.channel() as channel:
        before = server.metric("embedd_batch_size_sum")
        long = stub(channel).EmbedBatch.future(request(*range(200)))
        while server.metric("embedd_queue_images") == 0:
            pass
        # One connection is one flow: these wait behind the long call.
        others = [stub(channel).EmbedBatch.future(request(number)) for number in range(200, 400)]
        # The long call alone fills 200 places, so these say nothing of the others.
        while server.metric('embedd_stage_seconds_count{stage="decode"}') < 400:
            assert not long.done(), "the long call ended before the others came: nothing was tested"
        for call in others:
            call.cancel()
        while server.images("cancelled") < 200:
            assert not long.done(), "the long call ended before the others were cancelled: nothing was tested"
        assert rows(long.result()).shape == (200, 64)
        server.expect_rest()
        assert server.metric("embedd_batch_size_sum") - before == 200


def test_half_of_the_calls_are_cancelled_at_random_moments(slow_model):
    count, chance = 2000 if NIGHTLY else 500, random.Random(7)
    with Server("--queue-images", "4096", model=slow_model) as server:
        channels = [server.channel() for _ in range(8)]
        expected = rows(stub(channels[0]).EmbedBatch(request(*range(16))))
        before = {"ran": server.metric("embedd_batch_size_sum"), "all": server.all_images(), "ok": server.images("ok")}
        calls, doomed = [], []
        for number in range(count):
            calls.append(stub(channels[number % 8]).EmbedBatch.future(request(number % 16), timeout=300))
            if number % 2:
                doomed.append((time.monotonic() + chance.uniform(0, 1.5), calls[-1]))
            while doomed and chance.random() < 0.5:
                doomed.pop(chance.randrange(len(doomed)))[1].cancel()
        for moment, call in sorted(doomed, key=lambda pair: pair[0]):
            time.sleep(max(0, moment - time.monotonic()))
            call.cancel()
        answered = 0
        for number, call in enumerate(calls):
            code = call.code()  # waits
            assert code in (Code.OK, Code.CANCELLED) if number % 2 else code is Code.OK
            if code is Code.OK:
                answered += 1
                assert np.abs(rows(call.result())[0] - expected[number % 16]).max() < 1e-5
        server.expect_rest()
        ran, ok = server.metric("embedd_batch_size_sum") - before["ran"], server.images("ok") - before["ok"]
        reached = server.all_images() - before["all"]
        assert ran == ok >= answered  # what ran and was not waited for was cancelled while it ran
        assert count // 2 <= reached <= count
        for channel in channels:
            channel.close()
    figure(f"{count} calls: {answered} answered, {count - answered} cancelled; {int(ran)} images ran, of which "
           f"{int(ran) - answered} were cancelled while they ran or were answered")
