# SPDX-License-Identifier: Apache-2.0
"""When to try a call again. Pure: no clock of its own, no sleeping; shared by the two clients.

gRPC's own retries are off (`_channel.py`): they stop after five attempts, which no restart of a server fits into, and
skip every request over 256 KiB unless told otherwise.
"""

from __future__ import annotations

import random
import time
from typing import Callable, NamedTuple, Optional

from . import errors
from ._status import MESSAGE_TOO_LARGE, TRANSPORT

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
# A connection that breaks each time the same call is sent is not an outage.
MAX_TRANSPORT_ATTEMPTS = 5
# How often a call that the server finds too late is tried as it is before it is cut.
REFUSALS_BEFORE_SPLIT = 2


class Step(NamedTuple):
    """What to do after a failed attempt: wait `delay` seconds and try again, cut the call in two, or else raise."""

    delay: Optional[float] = None
    split: bool = False


RAISE = Step()
SPLIT = Step(split=True)


class Retry:
    """The attempts of one call.

    Args:
      retry_for: seconds to go on after the first failure.
      deadline: moment, on `now`'s clock, after which no attempt starts; None: only `retry_for` counts.
      bulk: whether a call that came too late, or that the server says will be, may be tried again later or cut in two.
        Not where somebody waits for the answer: then late is late.
    """

    def __init__(
        self,
        retry_for: float,
        deadline: Optional[float] = None,
        bulk: bool = False,
        now: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.attempts = 0
        self._retry_for = retry_for
        self.deadline = deadline
        self._bulk = bulk
        self._refusals = 0
        self._moved = False
        self._now = now
        self._uniform = uniform
        self._first_failure: Optional[float] = None
        self._backoff = FIRST_BACKOFF_S

    @classmethod
    def within(cls, timeout: float) -> "Retry":
        """Retries that end with `timeout` seconds from now."""
        return cls(timeout, deadline=time.monotonic() + timeout)

    def after(self, error: errors.EmbedError, inputs: int) -> Step:
        """The step after an attempt with `inputs` inputs ended in `error`."""
        if self._first_failure is None:
            self._first_failure = self._now()
        if isinstance(error, errors.InvalidRequest):
            return SPLIT if error.reason == MESSAGE_TOO_LARGE and inputs > 1 else RAISE
        if isinstance(error, errors.DeadlineExceeded):
            return self._after_late(error, inputs) if self._bulk else RAISE
        if not isinstance(error, (errors.Overloaded, errors.ServerUnavailable)):
            return RAISE
        if error._pushback is not None and error._pushback < 0:
            # Never as it is. A smaller call may still fit where this one never will.
            if isinstance(error, errors.Overloaded) and inputs > 1:
                return SPLIT
            return RAISE if error._elsewhere is None else self._wait(error._elsewhere)
        if error.reason == TRANSPORT and self.attempts >= MAX_TRANSPORT_ATTEMPTS:
            return RAISE
        if error._elsewhere == 0:  # what this server asks for does not hold for the others
            return self._wait(0.0)
        delay = self._delay(error._pushback)
        return self._wait(delay if error._elsewhere is None else min(delay, error._elsewhere))

    def half(self) -> "Retry":
        """The attempts of one half of the call after it was cut: as many seconds are left for it."""
        half = Retry(self._retry_for, self.deadline, self._bulk, self._now, self._uniform)
        half._first_failure = self._first_failure
        return half

    def _after_late(self, error: errors.EmbedError, inputs: int) -> Step:
        if error._late_by is None:  # the time ran out: another server may be faster, and fewer inputs take less
            if error._elsewhere is not None and not self._moved:
                self._moved = True
                return self._wait(error._elsewhere)
            return SPLIT if inputs > 1 else RAISE
        # Refused at once. What is in the way is mostly this job's own earlier calls; else the call is too large.
        self._refusals += 1
        if self._refusals > REFUSALS_BEFORE_SPLIT and inputs > 1:
            return SPLIT
        return self._wait(min(max(error._late_by, FIRST_BACKOFF_S), MAX_BACKOFF_S) * self._uniform(1.0, 1.2))

    def _wait(self, delay: float) -> Step:
        end = self._first_failure + self._retry_for
        if self.deadline is not None:
            end = min(end, self.deadline)
        return Step(delay=delay) if self._now() + delay < end else RAISE

    def _delay(self, pushback: Optional[float]) -> float:
        if pushback is not None:
            # Never earlier than asked; spread out, so that those refused together do not come back together.
            return pushback * self._uniform(1.0, 1.2) + self._uniform(0.0, 0.01)
        delay = self._backoff * self._uniform(0.8, 1.2)
        self._backoff = min(self._backoff * 2, MAX_BACKOFF_S)
        return delay
