# SPDX-License-Identifier: Apache-2.0
"""A caller that sends and sends and does not read."""

import numpy as np

from embedd.v1 import embedding_service_pb2 as pb
from harness import MIB, MODEL, NIGHTLY, Server, figure, picture, request, rows, stub, wait_for

SIDE = 256
WINDOW = 128  # server/rpc/embed_stream.cc
CLOSE = 1e-5
# Without this gRPC would take some MiB of answers in ahead of the reader.
SMALL_WINDOW = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 1 << 16}


def test_inputs_sent_without_reading_take_a_window_of_memory_and_all_are_answered_in_order():
    count = 5000 if NIGHTLY else 800
    inputs = [picture(number, SIDE) for number in range(16)]
    size = len(inputs[0].raw_image.rgb)
    with Server(model=MODEL) as server, server.channel(**SMALL_WINDOW) as channel:
        known = rows(stub(channel).EmbedBatch(pb.EmbedBatchRequest(inputs=inputs)))
        rest = server.resident()
        server.forget_peak()
        sent = 0

        def messages():
            nonlocal sent
            for number in range(count):
                message = pb.EmbedStreamRequest(input=inputs[number % 16])
                message.input.id = str(number)
                yield message
                sent += 1

        stream = stub(channel).EmbedStream(messages())  # a thread of gRPC's sends
        first = next(stream)
        looks = []

        def held_back():
            looks.append(sent)
            return len(looks) > 50 and looks[-1] == looks[-50]  # for a second

        wait_for(held_back, "the sender is never held back")
        held, queued, peak = sent, server.metric("embedd_queue_images"), server.peak_resident()
        assert held < count, "everything was taken in although nobody read"
        assert queued <= WINDOW
        assert peak - rest < 3 * WINDOW * size  # as read, as kept, and what the allocator makes of it

        answers = [first, *stream]
        assert [int(answer.id) for answer in answers] == list(range(count))
        assert [answer.index for answer in answers] == list(range(count))
        got = np.stack([np.frombuffer(answer.data, "<f4") for answer in answers])
        assert np.abs(got - known[np.arange(count) % 16]).max() < CLOSE
        server.expect_rest()
    figure(f"{count} inputs of {size // 1024} KiB = {count * size / MIB:.0f} MiB, nobody reads: the sender was held after "
           f"{held}; the server took {(peak - rest) / MIB:.0f} MiB more; then {count} answers in order")


def test_a_slow_reader_holds_nobody_else():
    with Server(model=MODEL) as server, server.channel(**SMALL_WINDOW) as lazy, server.channel() as other:
        message = pb.EmbedStreamRequest(input=picture(1))
        stream = stub(lazy).EmbedStream(message for _ in range(2000))
        next(stream)
        known = rows(stub(other).EmbedBatch(request(*range(16)), timeout=60))
        assert known.shape == (16, 128)
        quick = list(stub(other).EmbedStream((message for _ in range(100)), timeout=120))
        assert [answer.index for answer in quick] == list(range(100))
        stream.cancel()
        server.expect_rest()
