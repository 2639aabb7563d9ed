# SPDX-License-Identifier: Apache-2.0
"""embed_images against the fake server: order, splitting, limits, arguments. Both clients where it says make_client."""

import asyncio
import logging
import threading

import numpy as np
import pytest

import embedd
from embedd import EmbedClient, _job
from embedd.v1 import embedding_service_pb2 as pb
from fake_server import DIMENSION, FakeServer, images, vectors


@pytest.mark.parametrize("count", [1, 2, 16, 17, 64, 65, 1000])
def test_rows_are_in_the_order_of_the_images_however_many_calls_it_takes(server, make_client, count):
    got = make_client(server.target).embed_images(images(count))
    assert got.dtype == np.float32 and got.flags.writeable and got.flags.c_contiguous
    assert np.array_equal(got, vectors(images(count)))
    assert sorted(server.answered) == sorted(images(count))


def test_order_is_kept_when_calls_are_answered_in_another_order(server, make_client):
    first_may_go = threading.Event()

    def hold_the_first_call_back(request):
        if request.inputs[0].image == b"image-0":
            assert first_may_go.wait(20)
        elif request.inputs[0].image == b"image-30":
            first_may_go.set()

    server.before = hold_the_first_call_back
    assert np.array_equal(make_client(server.target).embed_images(images(50), batch_size=10), vectors(images(50)))


def test_several_calls_are_under_way_at_once_but_never_too_many(server, make_client):
    together = threading.Barrier(4)
    server.before = lambda request: together.wait(20)
    make_client(server.target).embed_images(images(64 * 8))
    assert server.most_running == 4
    assert [len(request.inputs) for request in server.requests] == [64] * 8


def test_an_infinite_timeout_is_no_limit(server, make_client):
    endless = float("inf")
    client = make_client(server.target, timeout=endless)
    assert np.array_equal(client.embed_images(images(3)), vectors(images(3)))
    assert client.server_info().limits == client.wait_ready(endless).limits
    with pytest.raises(ValueError, match="timeout is None; pass seconds"):
        make_client(server.target, timeout=None).embed_images(images(3))


def test_nothing_gives_an_empty_array_of_the_models_dimension(server, make_client):
    client = make_client(server.target)
    assert client.embed_images([]).shape == client.embed_images(iter(())).shape == (0, DIMENSION)
    assert server.requests == []


def test_calls_keep_to_the_servers_limits(make_client):
    with FakeServer(max_message_bytes=70_000) as server:
        server.limits.max_inputs_per_request = 7
        many = images(40)
        large = [bytes([number]) * 20_000 for number in range(1, 8)]
        client = make_client(server.target)
        assert np.array_equal(client.embed_images(many, batch_size=100), vectors(many))
        assert max(len(request.inputs) for request in server.requests) == 7
        assert np.array_equal(client.embed_images(large), vectors(large))
        sent = server.requests[-3:]
        assert sorted(len(request.inputs) for request in sent) == [1, 3, 3] and len(server.requests) == 6 + 3
        assert server.info_calls == 1  # asked once, then remembered


def test_calls_never_hold_more_images_than_the_servers_queue(server, client):
    server.limits.queue_images = 5
    assert np.array_equal(client.embed_images(images(40), batch_size=20), vectors(images(40)))
    assert max(len(request.inputs) for request in server.requests) == 5


def test_calls_are_cut_at_eight_mebibytes(server, make_client):
    raw = [np.full((1024, 1024, 3), value, np.uint8) for value in range(7)]
    got = make_client(server.target).embed_images(raw)
    assert np.array_equal(got, vectors([one.tobytes() for one in raw]))
    assert sorted(len(request.inputs) for request in server.requests) == [1, 2, 2, 2] and max(server.sizes) <= 8 << 20


def test_messages_over_four_mebibytes_pass_both_ways(server, make_client):
    dimension = 20_000
    data = np.arange(64 * dimension, dtype="<f4")

    def large_answer(request):
        return pb.EmbedBatchResponse(
            dimension=dimension, encoding=pb.ENCODING_FLOAT32, data=data.tobytes(), model_fingerprint="fp-1"
        )

    server.before = large_answer
    got = make_client(server.target).embed_images([b"x" * 100_000] * 64)
    assert server.sizes[0] > 4 << 20 and np.array_equal(got, data.reshape(64, dimension))


def test_float16_comes_as_float16(server, make_client):
    got = make_client(server.target).embed_images(images(70), dtype="float16")
    assert got.dtype == np.float16 and np.array_equal(got, vectors(images(70)).astype(np.float16))
    assert {request.encoding for request in server.requests} == {pb.ENCODING_FLOAT16}


def test_a_numpy_dtype_is_as_good_as_its_name(client):
    assert client.embed_images(b"x", dtype=np.float16).dtype == np.float16


def test_normalize_is_passed_on(server, make_client):
    client = make_client(server.target)
    assert np.linalg.norm(client.embed_images(b"x")) == pytest.approx(1)
    assert np.linalg.norm(client.embed_images(b"x", normalize=False)) > 2
    assert [request.normalize for request in server.requests] == [True, False]


@pytest.mark.parametrize(
    "passed, priority, lane",
    [
        (images(16), None, pb.PRIORITY_INTERACTIVE),
        (images(17), None, pb.PRIORITY_BULK),
        (iter(images(2)), None, pb.PRIORITY_BULK),
        (images(17), "interactive", pb.PRIORITY_INTERACTIVE),
        (images(1), "bulk", pb.PRIORITY_BULK),
    ],
)
def test_few_images_are_interactive_and_many_are_bulk_unless_told(server, client, passed, priority, lane):
    client.embed_images(passed, priority=priority)
    assert {request.priority for request in server.requests} == {lane}


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"dtype": "float64"},
        {"on_error": "ignore"},
        {"priority": "high"},
        {"timeout": 0},
        {"timeout": -1},
        {"retry_for": -1},
        {"retry_for": float("nan")},
        {"timeout": "soon"},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(server, make_client, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make_client(server.target).embed_images(b"x", **arguments)
    assert server.requests == [] and server.info_calls == 0


def test_iterators_are_read_only_a_few_calls_ahead(server, make_client):
    read = 0
    furthest = []

    def endless_but_for_the_test():
        nonlocal read
        for image in images(3000):
            read += 1
            furthest.append(read - len(server.answered))
            yield image

    got = make_client(server.target).embed_images(endless_but_for_the_test(), batch_size=20)
    assert np.array_equal(got, vectors(images(3000)))
    # Calls in flight, two more being read, one being gathered.
    assert max(furthest) <= (_job.MAX_CALLS_IN_FLIGHT + 2 + 1) * 20 + 1


def test_an_error_in_the_callers_iterator_reaches_the_caller(server, make_client):
    def breaks():
        yield from images(100)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        make_client(server.target).embed_images(breaks(), batch_size=10)


def test_a_failing_image_raises_or_returns_as_asked(server, make_client, caplog):
    client = make_client(server.target)
    passed = images(100)
    passed[70] = b"bad one"
    passed[30] = b"bad two"
    with pytest.raises(embedd.ImageRejected, match=r"images\[30\]") as caught:
        client.embed_images(passed, batch_size=10)
    assert caught.value.index == 30 and caught.value.reason == "CORRUPT_IMAGE"
    got = client.embed_images(passed, batch_size=10, on_error="return")
    assert np.isnan(got[[30, 70]]).all()
    good = np.delete(np.arange(100), [30, 70])
    assert np.array_equal(got[good], vectors([passed[index] for index in good]))
    assert "2 of 100 images failed" in caplog.text


def test_detailed_tells_all(server, make_client):
    passed = [*images(30), b"bad", "/does/not/exist"]
    result = make_client(server.target).embed_images_detailed(passed, batch_size=8)
    assert [(error.index, error.reason) for error in result.errors] == [(30, "CORRUPT_IMAGE"), (31, "UNREADABLE")]
    assert result.ok.tolist() == [True] * 30 + [False] * 2
    assert np.isfinite(result.vectors[result.ok]).all() and np.isnan(result.vectors[~result.ok]).all()
    assert result.fingerprint == "fp-1"
    assert [call.images for call in result.calls] == [8, 8, 8, 7]
    assert all(call.attempts == 1 and call.round_trip > 0 and call.server_total == 0.001 for call in result.calls)


def test_float16_rows_of_failed_images_are_nan_too(client):
    got = client.embed_images([b"bad", b"x"], dtype="float16", on_error="return")
    assert np.isnan(got[0]).all() and np.isfinite(got[1]).all()


def test_only_failures_give_rows_all_the_same(client):
    got = client.embed_images(["/no/1", "/no/2"], on_error="return")
    assert got.shape == (2, DIMENSION) and np.isnan(got).all()


def test_an_answer_that_does_not_fit_the_question_is_not_believed(server, make_client):
    client = make_client(server.target)
    row = vectors([b"x"]).tobytes()
    good = dict(dimension=DIMENSION, encoding=1, data=row, model_fingerprint="fp-1")
    for wrong in ({"data": row[:-4]}, {"dimension": 0}, {"encoding": 2}, {"errors": [pb.InputError(index=1, code=3)]}):
        server.before = lambda request: pb.EmbedBatchResponse(**{**good, **wrong})
        with pytest.raises(embedd.ServerError):
            client.embed_images(b"x")


class FakeBar:
    made = []

    def __init__(self, total=None, **_keywords):
        self.total, self.count, self.closed = total, 0, False
        FakeBar.made.append(self)

    def update(self, count):
        self.count += count

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    "show, level, shown",
    [
        (None, logging.WARNING, False),
        (None, logging.INFO, True),
        (None, logging.DEBUG, True),
        (None, logging.ERROR, False),
        (True, logging.ERROR, True),
        (False, logging.DEBUG, False),
    ],
)
def test_the_progress_bar_follows_the_loggers_level_unless_told(client, monkeypatch, caplog, show, level, shown):
    tqdm = pytest.importorskip("tqdm.auto")
    FakeBar.made.clear()
    monkeypatch.setattr(tqdm, "tqdm", FakeBar)
    caplog.set_level(level, "embedd")
    client.embed_images(images(100), show_progress_bar=show)
    assert [(bar.total, bar.count, bar.closed) for bar in FakeBar.made] == ([(100, 100, True)] if shown else [])


def test_without_tqdm_the_work_goes_on(client, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    assert client.embed_images(b"x", show_progress_bar=True).shape == (1, DIMENSION)
    assert "pip install tqdm" in caplog.text


def test_the_target_comes_from_the_environment_unless_given(server, monkeypatch):
    monkeypatch.setenv("EMBEDD_TARGET", server.target)
    with EmbedClient() as client:
        assert client.target == server.target and client.embed_images(b"x").shape == (1, DIMENSION)
    assert EmbedClient("grpc://elsewhere:1").target == "elsewhere:1"
    monkeypatch.delenv("EMBEDD_TARGET")
    assert EmbedClient().target == "localhost:50051"


def test_tokens_travel_as_bearer_and_a_function_is_asked_before_every_call(make_client):
    with FakeServer(token="secret") as server:
        with pytest.raises(embedd.Unauthenticated, match="token="):
            make_client(server.target).embed_images(b"x")
        with pytest.raises(embedd.Unauthenticated):
            make_client(server.target, token="wrong").server_info()
        current = ["secret"]
        client = make_client(server.target, token=lambda: current[0])
        assert client.embed_images(b"x").shape == (1, DIMENSION)
        current[0] = "old"
        with pytest.raises(embedd.Unauthenticated):
            client.embed_images(b"x")


def test_server_info_asks_anew_and_wait_ready_waits_for_the_model(server, make_client, caplog):
    client = make_client(server.target)
    states = [pb.GetServerInfoResponse.LOADING, pb.GetServerInfoResponse.READY]
    answer = server.GetServerInfo

    def next_state(request, context):
        server.state = states.pop(0) if states else server.state
        return answer(request, context)

    server.GetServerInfo = next_state
    assert client.wait_ready(20).state == pb.GetServerInfoResponse.READY
    assert caplog.text == ""  # waiting is what was asked for, nothing to warn of
    server.fingerprint = "fp-2"
    assert client.server_info().model.fingerprint == "fp-2"


def test_wait_ready_gives_up_in_time(make_client):
    with FakeServer(state=pb.GetServerInfoResponse.DRAINING) as server:
        with pytest.raises(embedd.ServerUnavailable, match="DRAINING"):
            make_client(server.target).wait_ready(0.3)


def test_a_closed_client_says_so(server, make_client):
    client = make_client(server.target)
    client.embed_images(b"x")
    client.close()
    with pytest.raises(embedd.EmbedError, match="closed"):
        client.embed_images(b"x")


@pytest.mark.parametrize("work", ["embed_images", "embed_stream"])
@pytest.mark.parametrize("several", [False, True])
def test_closing_a_client_that_others_use_ends_their_calls_and_says_so(server, make_client, work, several):
    client = make_client(server.target)
    client.embed_images(b"x")
    once = threading.Lock()

    def close(*_):
        if not once.acquire(blocking=False):
            return
        if isinstance(client, EmbedClient):
            client.close()
        else:
            asyncio.run_coroutine_threadsafe(client._client.close(), client._loop).result(20)

    server.before = server.on_stream = close
    with pytest.raises(embedd.EmbedError, match="closed") as caught:
        list(getattr(client, work)(images(500 if several else 1)))
    assert type(caught.value) is embedd.EmbedError


@pytest.mark.parametrize("token", ["secret\n", "g\u00e9heim", "a\x00b"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(server, make_client, token):
    with pytest.raises(ValueError, match="token") as told:
        make_client(server.target, token=token)
    with pytest.raises(ValueError, match="token"):
        make_client(server.target, token=lambda: token).embed_images(b"x")
    with pytest.raises(TypeError, match="function of the token gave bytes"):
        make_client(server.target, token=lambda: b"secret").embed_images(b"x")
    assert token.strip() not in str(told.value) and server.requests == []


def test_seconds_may_be_numbers_of_any_kind(server, make_client):
    client = make_client(server.target, timeout=np.float32(20))
    assert client.embed_images(b"x").shape == (1, DIMENSION)
    assert client.embed_images(images(100), timeout=np.float32(20), retry_for=np.int64(3)).shape == (100, DIMENSION)
    assert client.wait_ready(np.float32(20)).model.name == client.server_info(timeout=np.float32(20)).model.name


def test_callers_channel_options_win(server):
    with EmbedClient(server.target, channel_options=[("grpc.max_receive_message_length", 10)]) as client:
        with pytest.raises(embedd.EmbedError, match="larger than max"):
            client.server_info()
