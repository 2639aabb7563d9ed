# SPDX-License-Identifier: Apache-2.0
"""Which server gets the next call. Knows neither threads' work nor asyncio; shared by the two clients.

Every call goes where it is expected to be answered first: each replica gets as much as it answers, a slow one less, one
that refused or is away nothing until its time is over. A name with several servers behind it (`dns:///`) is one replica
here; gRPC spreads its calls.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Callable, List, NamedTuple, Optional

from . import errors
from ._channel import Target
from ._options import Limits
from ._progress import log
from ._status import MESSAGE_TOO_LARGE, TRANSPORT, unimplemented
from .v1 import embedding_service_pb2 as pb

FIRST_HOLD_S = 0.2
MAX_HOLD_S = 5.0
# Of what is known of a replica's rate, the part that one more answer leaves.
_MEMORY = 0.8
# A replica that was asked nothing for so long may have changed.
_STALE_S = 10.0
# Longest that a call waits to hear what a server is that came back.
_INTRODUCTION_S = 3.0
# How often health is asked, of servers in use and of those that do not serve: a server that drains says so for some
# seconds before it refuses anything.
_HEALTH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 3.0


class Call(NamedTuple):
    """Wanted: this call made. Outcome: an `Answer`, or an EmbedError thrown in."""

    method: str  # "EmbedBatch" or "GetServerInfo"
    payload: bytes
    timeout: float
    images: int = 0
    largest_file: int = 0  # bytes

    @property
    def grpc_timeout(self) -> Optional[float]:
        """`timeout` as gRPC takes it, which makes of infinity a time that is over."""
        return None if self.timeout == float("inf") else self.timeout


class Answer(NamedTuple):
    """What a server said, and which."""

    response: Any
    target: str


class Replica:
    """What is known of one target. `Pool` guards it with its lock."""

    def __init__(self, target: Target, now: Callable[[], float]) -> None:
        self.target = target
        self.limits: Optional[Limits] = None
        self.answered: set = set()  # methods
        self.images = 0  # under way there
        self.streams = 0
        self.failures = 0  # in a row
        self.resume_at = 0.0  # before that nothing is sent there, if another one can take it
        self.turn = 0  # when it was picked last
        self.away_since: Optional[float] = None  # it was told that it is away
        self.failed_at = -1.0
        self.proxy_told = False
        self.serving = True  # says its health
        self.no_health = False  # it does not offer to say
        self.health_next = 0.0  # when to ask again
        self._now = now
        self._since = 0.0  # up to here `_busy` is counted
        self._busy = 0.0  # seconds with images under way, decaying
        self._done = 0.0  # images answered in them

    def rate(self) -> Optional[float]:
        """Images a second while it had any; None when not known. Falls while it owes an answer."""
        waited = self._now() - self._since
        if self._done == 0 or (self.images == 0 and waited > _STALE_S):
            return None
        return self._done / max(1e-6, self._busy + (waited if self.images else 0.0))

    @property
    def says_health(self) -> bool:
        """Not where gRPC asks on its own, behind a name."""
        return not (self.no_health or self.target.balanced)

    def begin(self, images: int, stream: bool) -> None:
        if self.images == 0:
            self._since = self._now()
        self.images += images
        self.streams += stream

    def end(self, images: int, stream: bool, answered: bool) -> None:
        self.images -= images
        self.streams -= stream
        if not images:
            return
        now = self._now()
        if answered:
            self._busy = self._busy * _MEMORY + now - self._since
            self._done = self._done * _MEMORY + images
        self._since = now

    def takes(self, call: Call) -> bool:
        return self.limits is None or (
            len(call.payload) <= self.limits.message_bytes
            and call.images <= self.limits.inputs
            and call.largest_file <= self.limits.image_bytes
        )


class Pool:
    """The replicas of one client. Thread-safe."""

    def __init__(self, targets: List[Target], now: Callable[[], float] = time.monotonic) -> None:
        self.replicas = [Replica(target, now) for target in targets]
        self._by_name = {replica.target.name: replica for replica in self.replicas}
        self._lock = threading.Lock()
        self._now = now
        self._turn = 0

    @property
    def servers(self) -> int:
        """How many servers share the work, as far as that is known."""
        return sum(replica.target.addresses for replica in self.replicas)

    def limits(self) -> Optional[Limits]:
        """What calls are planned by: what all known replicas take; None when none is known."""
        known = [replica.limits for replica in self.replicas if replica.limits is not None]
        return Limits.shared(known) if known else None

    def begin(self, call: Call, stream: bool = False) -> "Attempt":
        """Picks the replica for a call or a stream. Raises InvalidRequest when none takes it: cut it."""
        with self._lock:
            fitting = [one for one in self.replicas if one.takes(call)]
            if not fitting:
                raise _too_large("none of the servers")
            free = [one for one in fitting if self._free(one)]
            if free:
                best = min(free, key=self._order(free, call, stream))
            else:
                best = min(fitting, key=lambda one: (one.resume_at, one.turn))
            self._turn += 1
            best.turn = self._turn
            best.begin(call.images, stream)
        return Attempt(self, best, call, stream)

    def begin_at(self, replica: Replica, call: Call) -> "Attempt":
        """A call to this replica and no other."""
        with self._lock:
            replica.begin(call.images, False)
        return Attempt(self, replica, call, False)

    @staticmethod
    def introduction(timeout: float) -> Call:
        """The call that asks a replica what it takes."""
        return Call("GetServerInfo", b"", min(timeout, _INTRODUCTION_S))

    def health_due(self) -> List[Replica]:
        """The replicas whose health is to be asked now. The answers go to `health_told`."""
        if len(self.replicas) == 1:  # there is no other to go to
            return []
        with self._lock:
            now = self._now()
            asked = [one for one in self.replicas if one.says_health and (one.images or not one.serving)]
            due = [one for one in asked if one.health_next <= now]
            for one in due:
                one.health_next = now + _HEALTH_EVERY_S
        return due

    def health_told(self, replica: Replica, serving: Optional[bool], no_health: bool = False) -> None:
        """What health said: None without an answer, which is no news; and whether the server has no such service."""
        with self._lock:
            replica.no_health = no_health
            replica.serving = no_health or (replica.serving if serving is None else serving)

    def retrying(self, error: errors.EmbedError) -> None:
        """A call is tried again because of `error`: says so, once per outage of a replica."""
        replica = self._by_name.get(error._target)
        if replica is None or not isinstance(error, errors.ServerUnavailable):
            log.debug("%s", error)
            return
        with self._lock:
            # Of a name with several servers one may be away.
            told = replica.away_since is not None or replica.failures < replica.target.addresses
            if not told:
                replica.away_since = self._now()
        if told:
            log.debug("%s", error)
        elif len(self.replicas) > 1:
            log.warning("%s Going on with the other servers.", error)
        else:
            log.warning("%s Trying again.", error)

    def learn(self, replica: Replica, info: pb.GetServerInfoResponse) -> Limits:
        limits = Limits.of(info)
        # While the model loads, not everything is known yet.
        if info.limits.max_message_bytes and limits.dimension:
            replica.limits = limits
        if replica.says_health and len(self.replicas) > 1:
            replica.serving = info.state in (info.READY, info.OFFLOADED)
        return limits

    def _order(self, free: List[Replica], call: Call, stream: bool) -> Callable[[Replica], tuple]:
        rates = {one: one.rate() for one in self.replicas}  # once: they fall while a thread is put aside
        usual = max((rate for rate in rates.values() if rate is not None), default=1.0)
        # Where it is answered first. In a job with calls to spare: to whom runs dry first but for one call, so that a slow
        # one has its next call at hand, too, and its batches are full.
        plenty = sum(one.images for one in free) >= 2 * len(free) * max(1, call.images)

        def order(one: Replica) -> tuple:
            rate = rates[one] or usual
            dry, end = max(0, one.images - call.images) / rate, (one.images + call.images) / rate
            return (one.streams if stream else 0, dry if plenty else end, end, one.turn)

        return order

    def _free(self, replica: Replica) -> bool:
        if replica.resume_at > self._now() or not replica.serving:
            return False
        # One call finds out whether it is back.
        return not (replica.failures >= replica.target.addresses and replica.images)

    def _elsewhere(self, failed: Replica, call: Call) -> Optional[float]:
        """Seconds until another server can be asked; None when there is none."""
        if failed.failures < failed.target.addresses:
            return 0.0
        now = self._now()
        others = [one for one in self.replicas if one is not failed and one.takes(call)]
        return min((max(0.0, one.resume_at - now) for one in others), default=None)


class Attempt:
    """One call, at one replica: says how it ended."""

    def __init__(self, pool: Pool, replica: Replica, call: Call, stream: bool) -> None:
        self.replica = replica
        # A server that came back, or that nobody has asked yet, is asked first what it takes.
        unknown = replica.limits is None and (replica.failures > 0 or len(pool.replicas) > 1)
        self.introduction = pool.introduction(call.timeout) if unknown and call.method == "EmbedBatch" else None
        self._pool = pool
        self._call = call
        self._stream = stream
        self._sent = pool._now()
        self._open = True

    def introduced(self) -> None:
        """The replica said what it is. Raises ServerUnavailable when it does not serve; InvalidRequest when it takes less than
        this call."""
        if not self.replica.serving:
            raise self.failed(errors.ServerUnavailable(f"{self.replica.target.name} does not serve yet"), "GetServerInfo")
        if not self.replica.takes(self._call):
            raise _too_large(self.replica.target.name)

    def succeeded(self, method: str) -> None:
        """An answer came."""
        replica, back = self.replica, None
        with self._pool._lock:
            replica.answered.add(method)
            # An answer to what was sent before the outage is no sign that it is over.
            if self._sent >= replica.failed_at:
                replica.failures, replica.resume_at = 0, 0.0
                if replica.away_since is not None:
                    back, replica.away_since = self._pool._now() - replica.away_since, None
        if back is not None:
            log.warning("%s answers again after %.1f s.", replica.target.name, back)
        if method == self._call.method and not self._stream:
            self.left(answered=True)

    def failed(self, error: errors.EmbedError, method: str) -> errors.EmbedError:
        """The call ended in `error`; gives the error to raise."""
        replica, now = self.replica, self._pool._now()
        if unimplemented(error):
            error = self._broken_proxy(error, method)
        self.left()
        error._target = replica.target.name
        late = isinstance(error, errors.DeadlineExceeded) and error._late_by is None
        if not (late or isinstance(error, (errors.Overloaded, errors.ServerUnavailable))):
            return error
        with self._pool._lock:
            if isinstance(error, errors.ServerUnavailable):
                replica.limits = None  # what comes back may be another server
            if replica.failures + 1 < replica.target.addresses:
                replica.failures += 1  # gRPC asks another address the next time
            else:
                if now >= replica.resume_at:  # else one of several calls that noticed the same
                    hold = min(FIRST_HOLD_S * 2 ** min(replica.failures, 8), MAX_HOLD_S) * random.uniform(0.8, 1.2)
                    replica.resume_at = now + hold
                    replica.failures += 1
                if error._pushback is not None and error._pushback > 0:
                    replica.resume_at = max(replica.resume_at, now + error._pushback)
            replica.failed_at = now
            error._elsewhere = self._pool._elsewhere(replica, self._call)
        return error

    def left(self, answered: bool = False) -> None:
        """The call is over. Also for calls that this side gave up; may be called twice."""
        with self._pool._lock:
            if self._open:
                self._open = False
                self.replica.end(self._call.images, self._stream, answered)

    def _broken_proxy(self, error: errors.EmbedError, method: str) -> errors.EmbedError:
        """The server answered this method before: a proxy that tried a call again after its body had gone by."""
        replica = self.replica
        if method not in replica.answered:
            return error
        if not replica.proxy_told:
            replica.proxy_told = True
            log.warning(
                "%s answered %s before and now says UNIMPLEMENTED: a proxy on the way sent an empty call. Switch its "
                "retries off, or give it room for whole requests; the client tries again by itself.",
                replica.target.name,
                method,
            )
        return errors.ServerUnavailable(
            f"the connection to {replica.target.name} broke: a proxy on the way sent an empty call",
            code=error.code,
            reason=TRANSPORT,
        )


def _too_large(who: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"{who} takes no call of this size", reason=MESSAGE_TOO_LARGE)
