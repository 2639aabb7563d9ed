# SPDX-License-Identifier: Apache-2.0
"""A large job beside single images, a job beside a crowd, and what a refusal costs."""

import json
import time
import urllib.request

from harness import MODEL, NIGHTLY, Load, Server, figure, request, rows, stub, wait_for
from embedd.v1 import embedding_service_pb2 as pb

LATENCY_TARGET_MS = 200
QUEUE = ("--queue-images", "512")
BATCH = 64  # the most, by default


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
    figure(f"the device was idle {100 * max(0, 1 - busy / took):.1f} % of {took:.0f} s, over {len(mine)} batches")


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
