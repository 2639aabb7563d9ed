# SPDX-License-Identifier: Apache-2.0
"""Connections that mean no good, and pictures that do not: health and other callers do not notice, nothing stays."""

import contextlib
import os
import socket
import struct
import time
import zlib
from concurrent import futures

import grpc
import pytest

from embedd.v1 import embedding_service_pb2 as pb
from harness import MIB, MODEL, Server, figure, health, pushback, reason, request, rows, stub, wait_for

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def server():
    with Server(model=MODEL) as running, running.channel() as channel:
        stub(channel).EmbedBatch(request(*range(16)))
        yield running


def connect(server):
    host, _, port = server.target.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


@contextlib.contextmanager
def unharmed(server, what):
    """Inside, the server is under attack: it serves others. Afterwards it holds no more than before."""
    with server.channel() as channel:
        stub(channel).EmbedBatch(request(1), timeout=60)
        descriptors, memory = server.descriptors(), server.resident()
        server.forget_peak()
        yield channel
        assert health(channel) == "SERVING"
        assert rows(stub(channel).EmbedBatch(request(1, 2, 3), timeout=60)).shape == (3, 128)
        peak = server.peak_resident()
    wait_for(lambda: server.descriptors() <= descriptors, f"descriptors stay open after {what}")
    server.expect_rest()
    # Freed memory goes back to the system after some seconds without work.
    wait_for(lambda: server.resident() <= memory + 16 * MIB, f"memory stays after {what}")
    figure(f"{what}: peak +{max(0, peak - memory) / MIB:.1f} MiB, afterwards "
           f"{(server.resident() - memory) / MIB:+.1f} MiB, descriptors {server.descriptors() - descriptors:+d}")


def close(sockets):
    for connection in sockets:
        connection.close()


def call_headers(stream=1):
    """HEADERS of an EmbedBatch call, every header as a literal that is not indexed (RFC 7541, 6.2.2)."""
    headers = [(":method", "POST"), (":scheme", "http"), (":path", "/embedd.v1.EmbeddingService/EmbedBatch"),
               (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers")]
    block = b"".join(b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode() for k, v in headers)
    return struct.pack(">I", len(block))[1:] + b"\1\4" + struct.pack(">I", stream) + block


def data(payload, last=False, stream=1):
    """DATA of the call."""
    return struct.pack(">I", len(payload))[1:] + bytes([0, int(last)]) + struct.pack(">I", stream) + payload


def test_what_the_others_here_break_off_is_a_call_when_it_is_not_broken_off(server):
    message = request(5, side=8).SerializeToString()
    before = server.images("ok")
    with connect(server) as connection:
        whole = data(b"\0" + struct.pack(">I", len(message)) + message, last=True)
        connection.sendall(PREFACE + SETTINGS + call_headers() + whole)
        wait_for(lambda: server.images("ok") == before + 1, "the server does not take it for a call")


def test_500_idle_connections(server):
    with unharmed(server, "500 idle connections") as channel:
        sockets = [connect(server) for _ in range(500)]
        for connection in sockets:
            connection.sendall(PREFACE + SETTINGS)
        wait_for(lambda: server.descriptors() >= 500, "they are not even accepted")
        assert health(channel) == "SERVING"
        close(sockets)


def test_half_open_connections_that_never_say_a_word(server):
    with unharmed(server, "100 silent connections") as channel:
        sockets = [connect(server) for _ in range(100)]
        for connection in sockets[::2]:
            connection.shutdown(socket.SHUT_WR)
        assert health(channel) == "SERVING"
        close(sockets)


def test_slow_loris(server):
    """Calls whose message comes byte by byte and never ends: announced 32 MiB, sent a few bytes."""
    with unharmed(server, "50 slow-loris calls of 32 MiB") as channel:
        sockets = [connect(server) for _ in range(50)]
        for connection in sockets:
            connection.sendall(PREFACE + SETTINGS + call_headers())
            connection.sendall(data(b"\0" + struct.pack(">I", 32 << 20)))
        for _ in range(20):
            for connection in sockets:
                connection.sendall(data(b"x"))
        for _ in range(10):
            assert health(channel) == "SERVING"
        assert server.peak_resident() - server.resident() < 64 * MIB  # nobody gets memory for what he announces
        close(sockets)


def test_large_messages_all_at_once_stay_within_grpcs_quota_and_leave_nothing_behind():
    """gRPC holds a message before a handler can refuse it; its quota is what bounds that."""
    side, count = 3200, 24
    message = request(1, side=side).SerializeToString()
    queue, largest = 64 * MIB, 32 * MIB
    with Server("--queue-bytes", str(queue), "--max-message-bytes", str(largest), model=MODEL) as server:
        with unharmed(server, f"{count} messages of {len(message) / MIB:.0f} MiB at once"):
            before = server.resident()
            with contextlib.ExitStack() as stack:
                channels = [stack.enter_context(server.channel()) for _ in range(count)]
                path = "/embedd.v1.EmbeddingService/EmbedBatch"
                calls = [channel.unary_unary(path, bytes, bytes).future(message, timeout=120) for channel in channels]
                assert {call.code() for call in calls} <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert server.peak_resident() - before < 1.2 * (queue + 2 * queue + 8 * largest)


def test_garbage(server):
    with unharmed(server, "200 connections of garbage"):
        for number in range(200):
            with connect(server) as connection, contextlib.suppress(OSError):
                connection.sendall((PREFACE + SETTINGS) * (number % 2) + os.urandom(1 + number * 37))
                connection.settimeout(0.2)
                connection.recv(100)


def test_callers_that_reset_their_connection_in_the_middle_of_a_call(server):
    with unharmed(server, "100 connections reset in the middle of a call"):
        message = request(*range(4)).SerializeToString()
        body = b"\0" + struct.pack(">I", len(message)) + message
        for number in range(100):
            with connect(server) as connection:
                connection.sendall(PREFACE + SETTINGS + call_headers())
                connection.sendall(data(body[:16384] if number % 2 else body[: 100 * number]))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN


ADAM7 = ((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1))


def png(width, height, interlaced=False):
    """A picture of one colour: a bit per pixel, and nearly nothing once compressed."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, data = zlib.compressobj(9), b""
    for across, down, x, y in ADAM7 if interlaced else ((1, 1, 0, 0),):
        row, rows = bytes(((width - x + across - 1) // across + 7) // 8 + 1), (height - y + down - 1) // down
        data += b"".join(packer.compress(row * min(1000, rows - i)) for i in range(0, rows, 1000))
    data += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def embed(channel, *files):
    request = pb.EmbedBatchRequest(inputs=[pb.Input(image=file) for file in files])
    return stub(channel).EmbedBatch(request, timeout=300)


def test_pictures_beyond_the_limit_are_refused_by_their_header(server):
    bomb = png(30_000, 30_000)
    jpeg = b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 65500, 65500) + b"\3\1\x22\0\2\x11\1\3\x11\1" + bytes(100)
    with unharmed(server, f"64 bombs of {len(bomb) // 1024} KiB that hold 900 Mpx") as channel:
        answer = embed(channel, *[bomb] * 60, *[jpeg] * 4)
        assert {error.reason for error in answer.errors} <= {"IMAGE_TOO_LARGE", "CORRUPT_IMAGE"}
        assert [error.reason for error in answer.errors].count("IMAGE_TOO_LARGE") >= 60
        assert len(answer.errors) == 64
        assert server.peak_resident() - server.resident() < 64 * MIB


def test_the_largest_picture_allowed_costs_what_security_md_says():
    """--max-pixels times 3 bytes for each decode thread, whatever the file's size: an interlaced PNG, which comes as a whole."""
    largest, threads = png(8000, 8000, interlaced=True), 2
    with Server("--decode-threads", str(threads), model=MODEL) as server:
        with unharmed(server, "8 pictures of 64 Mpx") as channel:
            server.forget_peak()
            before, start = server.resident(), time.monotonic()
            answer = embed(channel, *[largest] * 8)
            took, grown = time.monotonic() - start, server.peak_resident() - before
            assert not answer.errors
            assert grown < threads * 3 * 64_000_000 * 1.2
    figure(f"a file of {len(largest) / 1024:.1f} KiB holds at most {grown / threads / MIB:.0f} MiB for a decode thread: "
           f"{grown / threads / len(largest):.0f} bytes a byte, for {took / 8 * threads * 1e3:.0f} ms")


def test_rows_that_come_in_order_go_into_the_resize_one_after_the_other():
    """So a picture of 64 Mpx holds a few rows, where its format allows."""
    largest, threads = png(8000, 8000), 2
    with Server("--decode-threads", str(threads), model=MODEL) as server:
        with unharmed(server, "8 PNG of 64 Mpx, rows in order") as channel:
            server.forget_peak()
            before = server.resident()
            answer = embed(channel, *[largest] * 8)
            grown = server.peak_resident() - before
            assert not answer.errors
            assert grown < 24 * MIB, f"{grown / MIB:.0f} MiB"  # a batch of the model may be in it; a picture would be 183


def test_compressed_requests_are_refused_before_they_are_inflated():
    """0.25 MB on the wire, 256 MiB inflated, four at once: nobody gets the memory."""
    queue, largest = 64 * MIB, 8 * MIB
    with Server("--queue-bytes", str(queue), "--max-message-bytes", str(largest), model=MODEL) as server:
        with server.channel() as channel:
            stub(channel).EmbedBatch(request(1), timeout=60)
            rest = server.resident()
            server.forget_peak()
            zeros = bytes(256 * MIB)
            call = channel.unary_unary("/embedd.v1.EmbeddingService/EmbedBatch", lambda _: zeros, bytes)
            calls = [call.future(None, timeout=120, compression=grpc.Compression.Gzip) for _ in range(4)]
            assert {each.code() for each in calls} == {Code.UNIMPLEMENTED}
            took = server.peak_resident() - rest
            assert took < 64 * MIB, f"{took / MIB:.0f} MiB"
            assert health(channel) == "SERVING"
        figure(f"4 gzip calls that inflate to 256 MiB each: peak +{took / MIB:.1f} MiB")


def window(size):
    """SETTINGS: so many bytes of an answer may come before more are asked for."""
    return b"\0\0\6\4\0\0\0\0\0" + struct.pack(">HI", 4, size)


def test_answers_that_nobody_reads_are_part_of_the_queue():
    """A small request makes a large answer, here of refusals; the callers do not read what they asked for."""
    queue = 32 * MIB
    with Server("--queue-bytes", str(queue), "--max-message-bytes", str(16 * MIB), "--max-pixels", "16", model=MODEL) as server:
        large = pb.Input(raw_image=pb.RawImage(width=6, height=3, rgb=bytes(54)))
        content = pb.EmbedBatchRequest(inputs=[large] * 800).SerializeToString()
        content = b"\0" + struct.pack(">I", len(content)) + content
        parts = [content[at : at + 16384] for at in range(0, len(content), 16384)]
        assert len(content) < 65535  # what may be sent before the first WINDOW_UPDATE
        whole = b"".join(data(part, last=part is parts[-1]) for part in parts)
        with server.channel() as channel:
            assert health(channel) == "SERVING"
            rest = server.resident()
            server.forget_peak()
            sockets = [connect(server) for _ in range(256)]
            for connection in sockets:
                # A window of one byte for what comes back: it stays in the server.
                connection.sendall(PREFACE + window(1) + call_headers() + whole)
            wait_for(lambda: server.all_images() >= 256 * 800, "not all calls are taken in")
            took = server.peak_resident() - rest
            assert took < queue + 64 * MIB, f"{took / MIB:.0f} MiB"
            assert server.images("refused") > 0  # the queue was full of answers
            assert 0 < server.metric("embedd_answer_bytes") <= queue
            close(sockets)
            wait_for(lambda: server.metric("embedd_answer_bytes") == 0, "answers are held for ever")
            assert health(channel) == "SERVING"
        figure(f"256 calls of 800 refused inputs that nobody reads: peak +{took / MIB:.1f} MiB")


def test_a_connection_that_reads_nothing_holds_its_share_and_not_the_queue():
    """36 calls on one connection, whose answers would fill the queue and more; the caller reads none of them."""
    queue, calls, inputs = 4 * MIB, 36, 100
    with Server("--queue-bytes", str(queue), "--max-message-bytes", str(MIB), "--towers", "image", model=MODEL) as server:
        # Refused one by one: nothing but answers takes room.
        content = pb.EmbedBatchRequest(inputs=[pb.Input(text="a")] * inputs).SerializeToString()
        message = b"\0" + struct.pack(">I", len(content)) + content
        assert calls * len(message) < 65535  # what may be sent before the first WINDOW_UPDATE
        with server.channel() as channel, connect(server) as connection:
            stub(channel).EmbedBatch(request(1), timeout=60)
            everybody = server.all_images()
            # A window of one byte for what comes back: it stays in the server.
            connection.sendall(PREFACE + window(1) + b"".join(
                call_headers(stream) + data(message, last=True, stream=stream) for stream in range(1, 2 * calls, 2)))
            wait_for(lambda: server.all_images() - everybody >= calls * inputs, "not all calls are taken in")
            held = server.metric("embedd_answer_bytes")
            assert 0 < held <= queue / 4
            assert server.images("refused") > 0
            answer = stub(channel).EmbedBatch(request(*range(16)), timeout=60)
            assert rows(answer).shape == (16, 128) and not answer.errors
        wait_for(lambda: server.metric("embedd_answer_bytes") == 0, "answers are held for ever")
    figure(f"{calls} calls of {inputs} inputs on one connection that does not read: its answers hold {held / MIB:.2f} MiB of "
           f"{queue / MIB:.0f}")


def test_messages_of_streams_that_wait_for_a_place_are_bounded(slow_model):
    """12 streams, each with one message of 15 MiB, behind a full queue."""
    queue, largest, streams = 40 * MIB, 16 * MIB, 12
    room = max(queue // 2, largest)
    with Server("--queue-bytes", str(queue), "--max-message-bytes", str(largest), "--queue-images", "2",
                model=slow_model) as server:
        side = 2290
        message = pb.EmbedStreamRequest(
            input=pb.Input(raw_image=pb.RawImage(width=side, height=side, rgb=bytes(3 * side * side))))
        with server.channel() as channel:
            stub(channel).EmbedBatch(request(1), timeout=60)
            rest = server.resident()
            server.forget_peak()
            most = 0

            def one(number):
                with server.channel() as own:
                    try:
                        return [answer.error.reason for answer in stub(own).EmbedStream(iter([message]), timeout=120)]
                    except grpc.RpcError as error:
                        assert error.code() is Code.RESOURCE_EXHAUSTED and reason(error) == "QUEUE_FULL", error
                        assert pushback(error) > 0
                        return None

            with futures.ThreadPoolExecutor(streams) as pool:
                ended = [pool.submit(one, number) for number in range(streams)]
                while not all(each.done() for each in ended):
                    most = max(most, server.metric("embedd_stream_waiting_bytes"))
            assert any(each.result() == [""] for each in ended)
            took = server.peak_resident() - rest
            assert most <= room
            # The transport's quota is 2 * queue + 8 * largest, less the waiting room.
            assert took < 3 * queue + 8 * largest, f"{took / MIB:.0f} MiB"
            wait_for(lambda: server.metric("embedd_stream_waiting_bytes") == 0, "the room is not given back")
        figure(f"{streams} streams with a message of 15 MiB each: at most {most / MIB:.0f} MiB wait; peak +{took / MIB:.1f} MiB")


def test_a_ping_every_six_seconds_is_welcome_also_without_a_call(server):
    """Go's clients usually ping every 10 s; who pings more often than every 5 s is cut off after a few."""
    with connect(server) as connection:
        connection.sendall(PREFACE + SETTINGS)
        connection.settimeout(10)
        received = b""
        for number in range(5):
            if number:
                time.sleep(5.5)
            connection.sendall(b"\0\0\x08\x06\0\0\0\0\0" + struct.pack(">Q", number))
            pong = b"\0\0\x08\x06\x01\0\0\0\0" + struct.pack(">Q", number)
            while pong not in received:
                chunk = connection.recv(4096)
                assert chunk, "cut off"
                received += chunk
        assert b"too_many_pings" not in received
