# SPDX-License-Identifier: Apache-2.0
"""When a call is tried again. A simulated clock; nothing waits."""

import pytest

from embedd import DeadlineExceeded, ImageRejected, InvalidRequest, ModelMismatch, Overloaded, ServerUnavailable, _retry


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def policy(clock=None, jitter=1.0, **keywords):
    return _retry.Retry(
        **{
            "retry_for": 60.0,
            "now": clock or Clock(),
            "uniform": lambda low, high: max(low, min(high, jitter)),
            **keywords,
        }
    )


def failed(kind, pushback=None, reason=""):
    error = kind("x", reason=reason)
    error._pushback = pushback
    return error


def test_without_pushback_the_pauses_double_up_to_a_limit():
    retry = policy()
    delays = [retry.after(failed(ServerUnavailable), 1).delay for _ in range(9)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])


@pytest.mark.parametrize("jitter", [0.0, 1.0, 9.0])
def test_a_pushback_is_never_undercut_whatever_the_jitter(jitter):
    step = policy(jitter=jitter).after(failed(Overloaded, pushback=2.0, reason="QUEUE_FULL"), 1)
    assert 2.0 <= step.delay <= 2.0 * 1.2 + 0.01


def test_a_negative_pushback_means_never_as_it_is():
    assert policy().after(failed(ServerUnavailable, pushback=-1.0), 8) == _retry.RAISE
    assert policy().after(failed(Overloaded, pushback=-1.0, reason="QUEUE_FULL"), 1) == _retry.RAISE
    assert policy().after(failed(Overloaded, pushback=-1.0, reason="QUEUE_FULL"), 8) == _retry.SPLIT


def test_retries_end_after_retry_for_counted_from_the_first_failure():
    clock = Clock()
    retry = policy(clock, retry_for=10.0)
    assert retry.after(failed(ServerUnavailable), 1).delay is not None
    clock.time += 9.0
    assert retry.after(failed(ServerUnavailable), 1).delay is not None
    assert retry.after(failed(Overloaded, pushback=2.0), 1) == _retry.RAISE
    clock.time += 1.0
    assert retry.after(failed(ServerUnavailable), 1) == _retry.RAISE
    assert policy(retry_for=0.0).after(failed(ServerUnavailable), 1) == _retry.RAISE


def test_a_deadline_ends_retries_too():
    clock = Clock()
    retry = policy(clock, deadline=clock.time + 1.0)
    assert retry.after(failed(ServerUnavailable, pushback=0.5), 1).delay is not None
    assert retry.after(failed(ServerUnavailable, pushback=1.5), 1) == _retry.RAISE


def test_a_late_call_is_cut_only_where_nobody_waits_for_it():
    assert policy(bulk=True).after(failed(DeadlineExceeded), 2) == _retry.SPLIT
    assert policy(bulk=True).after(failed(DeadlineExceeded), 1) == _retry.RAISE
    assert policy(bulk=False).after(failed(DeadlineExceeded), 2) == _retry.RAISE


def test_a_bulk_call_refused_as_too_late_waits_for_the_backlog_and_is_cut_if_that_does_not_help():
    error = failed(DeadlineExceeded, reason="DEADLINE")
    error._late_by = 2.0
    retry = policy(bulk=True)
    assert [retry.after(error, 8) for _ in range(3)] == [_retry.Step(2.0), _retry.Step(2.0), _retry.SPLIT]
    retry = policy(bulk=True)
    assert [retry.after(error, 1).delay for _ in range(5)] == [2.0] * 5
    error._late_by = 500.0
    assert policy(bulk=True).after(error, 8).delay == _retry.MAX_BACKOFF_S
    assert policy(bulk=False).after(error, 8) == _retry.RAISE


def test_the_halves_of_a_call_have_no_more_time_than_the_whole():
    clock = Clock()
    whole = policy(clock, retry_for=10.0, bulk=True)
    assert whole.after(failed(DeadlineExceeded), 8) == _retry.SPLIT
    clock.time += 11.0
    assert whole.half().after(failed(ServerUnavailable), 4) == _retry.RAISE


def test_a_message_that_grpc_finds_too_large_is_cut_never_repeated():
    error = failed(InvalidRequest, reason="MESSAGE_TOO_LARGE")
    assert policy().after(error, 2) == _retry.SPLIT
    assert policy().after(error, 1) == _retry.RAISE


def test_a_connection_that_always_breaks_is_given_up_soon():
    retry = policy()
    steps = []
    for attempt in range(1, 7):
        retry.attempts = attempt
        steps.append(retry.after(failed(ServerUnavailable, reason="TRANSPORT"), 1).delay)
    assert [step is None for step in steps] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("error", [failed(InvalidRequest), failed(ModelMismatch), ImageRejected("x", index=0)])
def test_what_stays_wrong_is_not_repeated(error):
    assert policy(bulk=True).after(error, 8) == _retry.RAISE
