# SPDX-License-Identifier: Apache-2.0
"""A large job beside single images, a job beside a crowd, and what a refusal costs."""

import io
import json
import threading
import time
import urllib.request

import grpc
import numpy as np
from PIL import Image

from harness import MODEL, NIGHTLY, Load, Server, figure, request, rows, stub, wait_for
from embedd.v1 import embedding_service_pb2 as pb

LATENCY_TARGET_MS = 200
QUEUE = ("--queue-images", "512")
BATCH = 64  # the most, by default


def jpeg(width, height):
    """A file that takes about as long to decode as a photograph of its size."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((width, height), Image.BILINEAR).save(out, "JPEG", quality=88)
    return out.getvalue()


def test_a_small_picture_does_not_wait_for_the_files_of_12_megapixels_of_a_job():
    """Decoding is the work here: the model is nothing. Without lanes at prepare a single picture waits for all files that
    came before it, forty at a time."""
    large, small, waiting = jpeg(4000, 3000), jpeg(320, 240), 40
    with Server("--decode-threads", "1", model=MODEL) as server, server.channel() as job, server.channel() as channel:
        def call(on, *files, **fields):
            request = pb.EmbedBatchRequest(inputs=[pb.Input(image=file) for file in files], **fields)
            start = time.monotonic()
            assert not stub(on).EmbedBatch(request, timeout=300).errors
            return time.monotonic() - start

        one = min(call(job, large) for _ in range(3))
        took = []
        together = threading.Thread(target=lambda: took.append(call(job, *[large] * waiting, priority=pb.PRIORITY_BULK)))
        together.start()
        wait_for(lambda: server.metric("embedd_queue_images") > waiting / 2, "the job does not begin")
        singles = []
        while server.metric("embedd_queue_images") > waiting / 4:
            singles.append(call(channel, small))
        together.join()
    share = sorted(singles)[len(singles) // 2] / (took[0] / waiting)
    figure(f"a small picture beside a job of {waiting} files of 12 megapixels takes {1e3 * np.median(singles):.0f} ms (median "
           f"of {len(singles)}), the time of {share:.1f} of its files; one alone takes {1e3 * one:.0f} ms")
    # The file in hand, and its own way. Behind the job it would be ten and more.
    assert share <= 5


def batches(server):
    with urllib.request.urlopen(f"http://{server.http}/batches", timeout=30) as answer:
        return json.load(answer)


def test_single_images_pass_a_large_job_and_the_device_is_never_idle(slow_model):
    seconds = 60 if NIGHTLY else 3
    with Server(*QUEUE, "--latency-target", f"{LATENCY_TARGET_MS}ms", model=slow_model) as server:
        alone = Load(server, "--rate", "5", "--images", "1", seconds=seconds / 4).result()
        done = server.images("ok")
        job = Load(server, "--bulk", "--callers", "4", "--images", "64", seconds=seconds)
        wait_for(lambda: server.metric("embedd_queue_images") > 64, "the job does not begin")
        first, began = batches(server)[-1]["id"], time.monotonic()
        singles = Load(server, "--rate", "5", "--images", "1", seconds=seconds * 0.8).result()
        records, took = batches(server), time.monotonic() - began
        job = job.result()
        done = server.images("ok") - done - singles["ok"]
        assert not job["errors"] and not singles["errors"]
        assert done == 64 * job["ok"]
        server.expect_rest()
    mine = [record for record in records if record["id"] > first]
    busy = sum(record["execute_ns"] for record in mine) / 1e9
    longest = sorted(record["execute_ns"] for record in mine)[int(0.99 * len(mine))] / 1e6
    assert mine[0]["id"] == first + 1, "the records do not reach back far enough"
    figure(f"single images beside a job of {done}: p99 {singles['latency_ms']['p99']:.0f} ms (alone "
           f"{alone['latency_ms']['p99']:.0f} ms), two batches at the latency target: {2 * LATENCY_TARGET_MS} ms; two "
           f"batches as they were (p99): {2 * longest:.0f} ms")
    # Wide for a shared machine; a picture that waits for the job's 256 images takes some batches more.
    assert singles["latency_ms"]["p50"] <= 4 * longest + alone["latency_ms"]["p50"]
    figure(f"the device was idle {100 * max(0, 1 - busy / took):.1f} % of {took:.0f} s, over {len(mine)} batches")


def test_a_deadline_that_the_lane_makes_is_not_refused_for_the_job_beside_it(slow_model):
    """A job of some seconds waits; whoever is in a hurry goes before it, so is let in."""
    with Server(*QUEUE, model=slow_model) as server, server.channel() as job, server.channel() as channel:
        start = time.monotonic()
        stub(channel).EmbedBatch(request(*range(64)), timeout=60)  # now the server knows how fast it is, too
        each = (time.monotonic() - start) / 64
        together = stub(job).EmbedBatch.future(request(*range(400), priority=pb.PRIORITY_BULK), timeout=300)
        wait_for(lambda: server.metric("embedd_queue_images") > 300, "the job does not begin")
        ends = []
        while server.metric("embedd_queue_images") > 200:
            call = stub(channel).EmbedBatch.future(request(1), timeout=150 * each)
            ends.append(call.code())
        together.result()
        ok = ends.count(grpc.StatusCode.OK)
        figure(f"of {len(ends)} single images with a deadline of {150 * each:.1f} s, beside a job of {400 * each:.0f} s, {ok} were in "
               f"time")
        # Wide for a shared machine. Where the job counts none is let in: it has 200 images and more ahead.
        assert ok >= len(ends) / 2


def test_a_job_gets_a_tenth_of_the_device_beside_a_crowd_that_would_take_all(slow_model):
    size = 250 if NIGHTLY else 60
    with Server(*QUEUE, model=slow_model) as server, server.channel() as channel:
        crowd = Load(server, "--callers", "32", "--images", "8", "--channels", "32", seconds=40 if NIGHTLY else 5)
        wait_for(lambda: server.metric("embedd_queue_images") > 100, "no crowd")
        ok = server.images("ok")
        answer = stub(channel).EmbedBatch(request(*range(size), priority=pb.PRIORITY_BULK), timeout=300)
        together = server.images("ok") - ok
        assert rows(answer).shape[0] == size and not answer.errors
        # A tenth, but for the batches under way when its first image comes and when its last one leaves.
        assert together <= 10 * size + 4 * BATCH
        crowd.result()
    figure(f"a job of {size} images beside a crowd got {100 * size / together:.0f} % of the images that ran")


def test_what_a_refusal_costs():
    """A figure: the server's CPU for a call that is refused, and for one that does nothing at all."""
    count = 2000
    with Server("--queue-images", "1", model=MODEL) as server, server.channel() as channel:
        call = stub(channel).EmbedBatch
        two = request(1, 2, side=8)

        def cpu(send):
            before = server.cpu_seconds()
            for _ in range(count // 100):
                for future in [send() for _ in range(100)]:
                    future.exception()
            return (server.cpu_seconds() - before) / count * 1e6

        health_check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda _: b"", bytes)
        floor = [cpu(lambda: health_check.future(None)) for _ in range(3)]
        refusal = [cpu(lambda: call.future(two)) for _ in range(3)]
        assert server.images("refused") == 2 * 3 * count and server.images("ok") == 0
    figure(f"a refused call costs the server {min(refusal):.0f} us of CPU, an empty call {min(floor):.0f} us: "
           f"{min(refusal) - min(floor):.0f} us for admission")
