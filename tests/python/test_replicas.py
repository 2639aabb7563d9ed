# SPDX-License-Identifier: Apache-2.0
"""Several servers for one client: shared work, nothing lost or doubled, whatever one of them does."""

import contextvars
import json
import logging
import socket
import sys
import threading
import types
from contextlib import ExitStack

import grpc
import numpy as np
import pytest

import embedd
from embedd import EmbedClient, _replicas
from embedd._channel import Endpoint, Target
from embedd._options import Limits
from embedd.v1 import embedding_service_pb2 as pb
from fake_server import Failure, FakeServer, queue_full, vectors

Code = grpc.StatusCode


def images(count):
    return [b"image-%d" % number for number in range(count)]


@pytest.fixture
def servers():
    """Three fake servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(3)]


def targets(servers):
    return [server.target for server in servers]


def gone():
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % taken.getsockname()[1]


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


trace = contextvars.ContextVar("trace", default="none")


def test_the_callers_context_reaches_every_call_of_a_job(server):
    """Tracing keeps the current span in a context variable; a token function stands for what reads it here."""
    seen = []
    with EmbedClient(server.target, token=lambda: seen.append(trace.get()) or "t") as client:
        trace.set("mine")
        client.embed_images(images(100), batch_size=10)
        list(client.embed_stream(images(5)))
    assert len(seen) >= 12 and set(seen) == {"mine"}


class Span:
    """What of OpenTelemetry's span the client looks at."""

    def __init__(self, trace_id, span_id):
        self.trace_id, self.span_id, self.trace_flags, self.is_valid = trace_id, span_id, 1, trace_id != 0

    def get_span_context(self):
        return self


def test_the_callers_span_goes_with_every_call_of_a_job(server, make_client, monkeypatch):
    current = contextvars.ContextVar("span", default=Span(0, 0))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.SimpleNamespace(get_current_span=current.get))
    client = make_client(server.target)
    client.embed_images(images(50), batch_size=10)
    assert server.traces == [None] * 5
    current.set(Span(0xABC, 0x12))
    server.traces.clear()
    client.embed_images(images(50), batch_size=10)
    list(client.embed_stream(images(5)))
    assert server.traces == ["00-00000000000000000000000000000abc-0000000000000012-01"] * 6


# The pool alone.


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def pool(count=2):
    clock = Clock()
    made = _replicas.Pool([Target(f"127.0.0.1:{number + 1}", None, ()) for number in range(count)], clock)
    for replica in made.replicas:
        replica.limits = Limits(dimension=4, image_bytes=1 << 20, inputs=64)
    return made, clock


def call(count=1):
    return _replicas.Call("EmbedBatch", b"", 1.0, count)


def failed(kind=embedd.ServerUnavailable, pushback=None):
    error = kind("x")
    error._pushback = pushback
    return error


def test_a_replica_that_takes_five_times_as_long_gets_a_fifth():
    shared, clock = pool()
    seconds = {shared.replicas[0]: 1.0, shared.replicas[1]: 5.0}
    under_way, ends, counts = [], {replica: 0.0 for replica in shared.replicas}, {r: 0 for r in shared.replicas}
    for _ in range(400):
        while len(under_way) < 8:
            attempt = shared.begin(call(10))
            ends[attempt.replica] = max(ends[attempt.replica], clock.time) + seconds[attempt.replica]
            under_way.append((ends[attempt.replica], id(attempt), attempt))
        under_way.sort()
        clock.time, _, attempt = under_way.pop(0)
        attempt.succeeded("EmbedBatch")
        counts[attempt.replica] += 1
    quick, slow = counts.values()
    assert 4.0 < quick / slow < 6.0


def test_in_a_job_with_calls_to_spare_a_slow_replica_does_not_idle():
    """It has its next call at hand, though the quick one would be through with it earlier."""
    shared, clock = pool()
    quick, slow = shared.replicas
    for replica, seconds in ((quick, 0.08), (slow, 0.8)):
        attempt = shared.begin_at(replica, call(64))
        clock.time += seconds
        attempt.succeeded("EmbedBatch")
    for _ in range(6):
        shared.begin_at(quick, call(64))
    assert [shared.begin(call(64)).replica for _ in range(2)] == [slow] * 2
    # But one picture that somebody waits for goes where it is answered first.
    other, clock = pool()
    quick, slow = other.replicas
    for replica, seconds in ((quick, 0.08), (slow, 0.8)):
        attempt = other.begin_at(replica, call(64))
        clock.time += seconds
        attempt.succeeded("EmbedBatch")
    assert [other.begin(call(1)).replica for _ in range(3)] == [quick] * 3


def test_a_replica_that_owes_an_answer_is_avoided_more_the_longer_it_does():
    shared, clock = pool()
    for replica in shared.replicas:
        attempt = shared.begin_at(replica, call(10))
        clock.time += 1.0
        attempt.succeeded("EmbedBatch")
    hung = shared.begin(call(10))
    clock.time += 30.0
    assert all(shared.begin(call(1)).replica is not hung.replica for _ in range(8))


def test_a_refusal_holds_for_that_replica_alone_and_as_long_as_it_asked():
    shared, clock = pool()
    refused = shared.begin(call())
    error = refused.failed(failed(embedd.Overloaded, pushback=2.0), "EmbedBatch")
    assert error._elsewhere == 0.0
    clock.time += 1.9
    assert all(shared.begin(call()).replica is not refused.replica for _ in range(5))
    other = next(one for one in shared.replicas if one is not refused.replica)
    error = shared.begin_at(other, call()).failed(failed(embedd.Overloaded, pushback=5.0), "EmbedBatch")
    assert error._elsewhere == pytest.approx(0.1)
    clock.time += 0.2
    assert shared.begin(call()).replica is refused.replica


def test_one_call_finds_out_whether_a_replica_is_back():
    shared, clock = pool()
    away = shared.begin(call()).replica
    shared.begin_at(away, call()).failed(failed(), "EmbedBatch")
    clock.time += 60.0
    scout = shared.begin_at(away, call())
    assert scout.introduction is not None  # it is asked first what it is
    assert all(shared.begin(call()).replica is not away for _ in range(3))


def test_health_is_asked_once_a_second_of_those_in_use():
    shared, clock = pool(3)
    one, two, _three = shared.replicas
    shared.begin_at(one, call())
    shared.begin_at(two, call())
    assert shared.health_due() == [one, two] and shared.health_due() == []
    shared.health_told(one, True)
    shared.health_told(two, False)
    assert shared.health_due() == []
    assert all(shared.begin(call()).replica is not two for _ in range(5))
    clock.time += 1.1
    assert set(shared.health_due()) >= {one, two}
    shared.health_told(two, None)  # no answer is no news
    assert all(shared.begin(call()).replica is not two for _ in range(5))
    clock.time += 1.1
    assert two in shared.health_due()
    shared.health_told(two, True)
    assert any(shared.begin(call(64)).replica is two for _ in range(5))


def test_health_is_not_asked_of_one_server_nor_where_grpc_does():
    alone, _ = pool(1)
    alone.begin(call())
    assert alone.health_due() == []
    named = _replicas.Pool([Target("dns:///a:1", None, ()), Target("b:1", None, ())], Clock())
    for replica in named.replicas:
        named.begin_at(replica, call())
    assert [one.target.name for one in named.health_due()] == ["b:1"]


def test_many_calls_that_notice_one_outage_count_as_one():
    shared, clock = pool()
    attempts = [shared.begin_at(shared.replicas[0], call()) for _ in range(8)]
    for attempt in attempts:
        attempt.failed(failed(), "EmbedBatch")
    assert shared.replicas[0].failures == 1 and shared.replicas[0].resume_at - clock.time < 0.3


def test_an_answer_to_what_was_sent_before_an_outage_is_no_sign_of_its_end(caplog):
    shared, clock = pool()
    early, lost = (shared.begin_at(shared.replicas[0], call()) for _ in range(2))
    clock.time += 1
    shared.retrying(lost.failed(failed(), "EmbedBatch"))
    early.succeeded("EmbedBatch")
    assert shared.replicas[0].failures == 1 and "again after" not in caplog.text
    clock.time += 1
    shared.begin_at(shared.replicas[0], call()).succeeded("EmbedBatch")
    assert shared.replicas[0].failures == 0 and "again after" in caplog.text


def test_behind_one_name_the_next_address_is_asked_at_once_and_one_lost_is_no_outage(caplog):
    target = Target("dns:///gpus:50051", None, ())
    target.addresses = 3
    shared = _replicas.Pool([target], Clock())
    elsewhere = []
    for _ in range(4):
        error = shared.begin(call()).failed(failed(), "EmbedBatch")
        elsewhere.append(error._elsewhere)
        shared.retrying(error)
    assert elsewhere == [0.0, 0.0, None, None]
    assert len(caplog.records) == 1


# Addresses.


@pytest.mark.parametrize(
    "given, names",
    [
        ("a:1", ["a:1"]),
        (" a:1, b:2 ,a:1,", ["a:1", "b:2"]),
        (["a:1", "unix:/tmp/x,y"], ["a:1", "unix:/tmp/x,y"]),
        ("grpc://a:1,grpcs://b:2,dns:///c:3", ["a:1", "b:2", "dns:///c:3"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:1,unix:/run/x", ["ipv4:10.0.0.1:1", "10.0.0.2:1", "unix:/run/x"]),
    ],
)
def test_targets_are_told_apart(given, names):
    endpoint = Endpoint(given, None, None, ())
    assert [target.name for target in endpoint.targets] == names
    assert [target.tls is not None for target in endpoint.targets] == ["grpcs" in str(given) and name == "b:2" for name in names]


@pytest.mark.parametrize("given, kind", [("", None), (",", ValueError), ([], ValueError), ([3], TypeError), (3, TypeError)])
def test_what_names_no_server_is_refused(given, kind, monkeypatch):
    monkeypatch.delenv("EMBEDD_TARGET", raising=False)
    if kind is None:
        return
    with pytest.raises(kind):
        EmbedClient(given)


@pytest.mark.parametrize(
    "name, host, port, local",
    [
        ("localhost:50051", "localhost", 50051, True),
        ("127.0.0.9:1", "127.0.0.9", 1, True),
        ("ipv4:127.0.0.1:1", "127.0.0.1", 1, True),
        ("ipv6:[::1]:1", "::1", 1, True),
        ("[::1]:7", "::1", 7, True),
        ("dns:///localhost:5", "localhost", 5, True),
        ("dns://8.8.8.8/gpu-host:5", "gpu-host", 5, False),
        ("dns:gpu-host:5", "gpu-host", 5, False),
        ("unix:/run/embedd.sock", "", None, True),
        ("unix:///run/embedd.sock", "", None, True),
        ("gpu-host:50051", "gpu-host", 50051, False),
        ("10.0.0.1:50051", "10.0.0.1", 50051, False),
    ],
)
def test_hosts_are_read_out_of_every_form(name, host, port, local):
    target = Target(name, None, ())
    assert (target.host, target.port, target.local) == (host, port, local)


def test_only_names_with_several_servers_are_balanced_by_grpc():
    def config(name, addresses=1, own=()):
        target = Target(name, None, own)
        target.addresses = addresses
        return dict(target.options).get("grpc.service_config")

    assert config("gpu:1") is None and config("127.0.0.1:1") is None
    for made in (config("dns:///gpu:1"), config("gpu:1", addresses=2)):
        read = json.loads(made)
        assert [list(policy)[0] for policy in read["loadBalancingConfig"]] == ["weighted_round_robin", "round_robin"]
        assert read["healthCheckConfig"] == {"serviceName": ""}
    assert config("dns:///gpu:1", own=[("grpc.service_config", "{}")]) == "{}"


def test_a_name_that_grpc_balances_works(servers, make_client):
    client = make_client(f"dns:///{servers[0].target}")
    assert np.array_equal(client.embed_images(images(100), batch_size=10), vectors(images(100)))


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_server_on_this_machine_is_never_asked_through_a_proxy(server, make_client, monkeypatch, variable):
    monkeypatch.setenv(variable, f"http://{gone()}")
    for one in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
    port = server.target.rpartition(":")[2]
    for target in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert make_client(target).embed_images(b"x").shape == (1, 16)


def test_elsewhere_the_error_names_the_variable(make_client, monkeypatch):
    for one in ("http_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv("https_proxy", f"http://user:secret@{gone()}")
    with pytest.raises(embedd.ServerUnavailable, match="https_proxy=.*no_proxy=192.0.2.1") as caught:
        make_client("192.0.2.1:50051").embed_images(b"x", retry_for=0)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "192.0.2.1")
    assert Target("192.0.2.1:50051", None, ()).proxy() == ""
