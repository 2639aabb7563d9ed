# SPDX-License-Identifier: Apache-2.0
"""`embed_stream`: what was read and not yet answered, so that a broken stream can go on where it was.

`StreamLog` is shared by the two clients and knows neither threads nor asyncio; `run` is the one with threads.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Deque, Iterable, Iterator, NamedTuple, Optional

import grpc

from . import _images, _job, _status, _wire, errors
from ._options import Limits, Options
from ._retry import Retry
from .result import StreamResult
from .v1 import embedding_service_pb2 as pb

# Images read ahead of the answers. Bounds memory on this side; the server bounds its own.
WINDOW_IMAGES = 256
WINDOW_BYTES = 32 << 20


class Entry(NamedTuple):
    """An image that was read: its content, or why it has none."""

    index: int
    id: str
    content: Optional[_wire.Content]
    error: Optional[errors.ImageRejected]


class StreamLog:
    """The images read and not yet answered, in order. Not thread-safe."""

    def __init__(self, options: Options, limits: Limits) -> None:
        self.exhausted = False
        self.failure: Optional[BaseException] = None  # what the caller's iterator raised
        self._options = options
        self._limits = limits
        self._source = _images.Source(iter(()))
        self._entries: Deque[Entry] = deque()
        self._first = 0  # index of the first entry
        self._pending = 0  # entries that the server has to answer
        self._bytes = 0
        self.answers = 0  # in the current stream
        self._fingerprint = options.expect_fingerprint

    @property
    def unanswered(self) -> int:
        return self._pending

    def begin(self) -> int:
        """A stream begins; gives the index to send first."""
        self.answers = 0
        return self._first

    def settings(self) -> bytes:
        """What the first message says beside its input."""
        return _wire.stream_settings(
            self._options.dtype, self._options.normalize, self._options.priority, self._fingerprint
        )

    def has_room(self) -> bool:
        return self._pending < WINDOW_IMAGES and self._bytes < WINDOW_BYTES

    def entry(self, cursor: int) -> Optional[Entry]:
        """The entry at `cursor` or the next one there is; None when it has to be read first."""
        position = max(0, cursor - self._first)
        return self._entries[position] if position < len(self._entries) else None

    def load(self, value: Any) -> Entry:
        """Makes an entry of what the caller's iterator gave. May read a file; changes nothing."""
        name, image = value if _is_pair(value) else ("", value)
        item = self._source.item(image)
        try:
            loaded = _images.load(item, self._limits)
        except errors.ImageRejected as error:
            return Entry(item.index, name, None, error)
        return Entry(item.index, name, loaded.content, None)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.content is not None:
            self._pending += 1
            self._bytes += entry.content.size

    def failed_here(self) -> Iterator[StreamResult]:
        """Results of the images at the front that were never sent."""
        while self._entries and self._entries[0].content is None:
            entry = self._entries.popleft()
            self._first += 1
            yield StreamResult(entry.index, entry.id, None, entry.error)

    def answer(self, response: pb.EmbedStreamResponse) -> StreamResult:
        """The result that `response` means. Call `failed_here` before."""
        if not self._entries or response.index != self.answers:
            raise errors.ServerError(f"the stream answered input {response.index}, expected {self.answers}")
        entry = self._entries.popleft()
        self._first += 1
        self.answers += 1
        self._pending -= 1
        self._bytes -= entry.content.size
        if response.HasField("error"):
            error = _job.rejected(entry.index, response.error)
            return StreamResult(entry.index, entry.id, None, error, response.model_fingerprint)
        self._fingerprint = self._fingerprint or response.model_fingerprint
        _job.check_same_model(self._fingerprint, response.model_fingerprint)
        row = _wire.rows(response.data, 1, response.dimension, self._options.dtype)[0]
        vector = row.astype(row.dtype.newbyteorder("="))  # a writable copy, which does not keep the message alive
        return StreamResult(entry.index, entry.id, vector, None, response.model_fingerprint)


def message(entry: Entry, settings: bytes) -> bytes:
    """The EmbedStreamRequest of `entry`."""
    return _wire.request_bytes(settings, [entry.content], entry.id)


def cut_short() -> errors.EmbedError:
    """The error of a stream that ended before all was answered."""
    return errors.ServerUnavailable("the server ended the stream early", reason=_status.TRANSPORT)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


class _Feeder:
    """Reads the caller's iterator in gRPC's thread, for one stream after the other."""

    def __init__(self, log: StreamLog, images: Iterable[Any]) -> None:
        self.changed = threading.Condition()
        self._log = log
        self._iterator = iter(_images.Source(images).images)
        self._reading = False
        self._stream = 0

    def messages(self) -> Iterator[bytes]:
        """The messages of a new stream; those of the one before end."""
        with self.changed:
            self._stream += 1
            stream, cursor = self._stream, self._log.begin()
            self.changed.notify_all()
        return self._messages(stream, cursor)

    def stop(self) -> None:
        with self.changed:
            self._stream += 1
            self.changed.notify_all()

    def _messages(self, stream: int, cursor: int) -> Iterator[bytes]:
        settings = self._log.settings()
        while True:
            entry = self._next(stream, cursor)
            if entry is None:
                return
            cursor = entry.index + 1
            if entry.content is not None:
                yield message(entry, settings)
                settings = b""

    def _next(self, stream: int, cursor: int) -> Optional[Entry]:
        while True:
            with self.changed:
                while True:
                    entry = self._log.entry(cursor)
                    if stream != self._stream or (entry is None and self._log.exhausted):
                        return None
                    if entry is not None:
                        return entry
                    if not self._reading and self._log.has_room():
                        self._reading = True
                        break
                    self.changed.wait()
            self._read()

    def _read(self) -> None:
        # Without the lock: the caller's iterator may take its time, and answers must get through.
        made, failure, end = None, None, False
        try:
            made = self._log.load(next(self._iterator))
        except StopIteration:
            end = True
        except Exception as error:
            failure, end = error, True
        with self.changed:
            self._reading = False
            if made is not None:
                self._log.append(made)
            self._log.exhausted, self._log.failure = end, failure
            self.changed.notify_all()


def run(connection: Any, images: Iterable[Any], options: Options) -> Iterator[StreamResult]:
    """Yields the results; `connection` is a `_sync.Connection`."""
    log = StreamLog(options, connection.limits(options))
    feeder = _Feeder(log, images)
    retry = Retry(options.retry_for)
    try:
        while True:
            retry.attempts += 1
            call = connection.stream(feeder.messages(), metadata=connection.endpoint.metadata())
            try:
                for response in call:
                    with feeder.changed:
                        results = [*log.failed_here(), log.answer(response)]
                        feeder.changed.notify_all()
                    connection.state.succeeded()
                    retry = Retry(options.retry_for)
                    yield from results
                error = cut_short() if log.unanswered or not log.exhausted else None
            except grpc.RpcError as failure:
                error = _status.from_rpc_error(failure, connection.endpoint.target, None)
            finally:
                call.cancel()
            if error is None:
                yield from log.failed_here()
                if log.failure is not None:
                    raise log.failure
                return
            step = retry.after(error, 1)
            if step.delay is None:
                raise error
            connection.state.failed(error)
            threading.Event().wait(step.delay)
    finally:
        feeder.stop()
