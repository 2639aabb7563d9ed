# SPDX-License-Identifier: Apache-2.0
"""What a client keeps per process (and, with asyncio, per event loop) beside its connection; shared by both clients."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

from . import errors
from ._options import Limits
from ._progress import log
from .v1 import embedding_service_pb2 as pb

SERVICE = "/embedd.v1.EmbeddingService/"
PARSERS: "dict[str, Callable[[bytes], Any]]" = {
    "EmbedBatch": pb.EmbedBatchResponse.FromString,
    "GetServerInfo": pb.GetServerInfoResponse.FromString,
}


class Outage:
    """Says once that the server is away, and once that it is back, however many calls notice."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._since: Optional[float] = None

    def failed(self, error: errors.EmbedError) -> None:
        if not isinstance(error, errors.ServerUnavailable):
            log.debug("%s", error)
            return
        with self._lock:
            first, self._since = self._since is None, self._since or time.monotonic()
        if first:
            log.warning("%s Trying again.", error)

    def over(self) -> None:
        if self._since is None:  # the usual case, without a lock
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            log.warning("%s answers again after %.1f s.", self._target, time.monotonic() - since)


class State:
    """The limits of the server, asked once, and its outages."""

    def __init__(self, target: str) -> None:
        self.outage = Outage(target)
        self.limits: Optional[Limits] = None

    def failed(self, error: errors.EmbedError) -> None:
        if isinstance(error, errors.ServerUnavailable):
            self.limits = None  # what comes back may be another server
        self.outage.failed(error)

    def succeeded(self) -> None:
        self.outage.over()

    def learn(self, info: pb.GetServerInfoResponse) -> Limits:
        limits = Limits.of(info)
        # While the model loads, not everything is known yet.
        if info.limits.max_message_bytes and limits.dimension:
            self.limits = limits
        return limits
