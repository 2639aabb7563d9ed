# SPDX-License-Identifier: Apache-2.0
"""Which of several servers gets the next call: the pool alone, with a clock of its own."""

import pytest

import embedd
from embedd import _replicas
from embedd._channel import Target
from embedd._options import Limits


class Clock:
    def __init__(self):
        self.time = 100.0
        self.step = 0.0  # from one look to the next

    def __call__(self):
        self.time += self.step
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


def take_turns(shared, clock, seconds):
    """One call of 64 images at each replica, which takes so long there."""
    for replica, took in zip(shared.replicas, seconds, strict=True):
        attempt = shared.begin_at(replica, call(64))
        clock.time += took
        attempt.succeeded("EmbedBatch")


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
    take_turns(shared, clock, (0.08, 0.8))
    for _ in range(6):
        shared.begin_at(quick, call(64))
    assert [shared.begin(call(64)).replica for _ in range(2)] == [slow] * 2
    # But one picture that somebody waits for goes where it is answered first.
    other, clock = pool()
    quick, slow = other.replicas
    take_turns(other, clock, (0.08, 0.8))
    assert [other.begin(call(1)).replica for _ in range(3)] == [quick] * 3


def test_time_that_passes_between_two_looks_at_a_rate_sends_nothing_to_the_fuller_replica():
    """A thread may be put aside in the middle of its choice. What is not known yet of one is the rate of the other."""
    shared, clock = pool()
    known, unknown = shared.replicas
    shared.begin_at(known, call(10)).succeeded("EmbedBatch")
    for replica, calls in ((known, 7), (unknown, 8)):
        for _ in range(calls):
            shared.begin_at(replica, call(10))
    clock.step = 1.0
    assert shared.begin(call(10)).replica is known


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
