# SPDX-License-Identifier: Apache-2.0
"""`embed_stream`: what was read and not yet answered, so that a broken stream can go on where it was, at any server.

`StreamLog` is shared by the two clients and knows neither threads nor asyncio; `run` is the one with threads.
"""

from __future__ import annotations

import contextvars
import heapq
import threading
from collections import deque
from typing import Any, Deque, Iterable, Iterator, List, NamedTuple, Optional

import grpc

from . import _diagnose, _inputs, _job, _status, _wire, errors
from ._options import Limits, Options
from ._replicas import Attempt, Call
from ._retry import Retry
from .result import StreamResult
from .v1 import embedding_service_pb2 as pb

# Images read ahead of the results, for each stream. Bounds memory on this side; the server bounds its own.
WINDOW_IMAGES = 256
WINDOW_BYTES = 32 << 20
# Of several streams each holds fewer, so that the results of the fast ones need not wait long for those of a slow one.
LANE_IMAGES = 64

OPEN = Call("EmbedStream", b"", float("inf"))


class Entry:
    """An image that was read: its content until it is answered, its result from then on."""

    def __init__(self, index: int, name: str, content: Optional[_wire.Content], error: Any = None) -> None:
        self.index = index
        self.id = name
        self.content = content
        self.result = None if error is None else StreamResult(index, name, None, error)


class Message(NamedTuple):
    """What is sent of an entry; stays whole when the entry is answered on another stream meanwhile."""

    content: _wire.Content
    id: str

    def pack(self, settings: bytes) -> bytes:
        """The EmbedStreamRequest."""
        return _wire.request_bytes(settings, [self.content], self.id)


class Lane:
    """One of the streams: what was sent on it and not yet answered.

    Attributes:
      stream: number of the gRPC stream it is at.
      answers: how many came on that.
      closed: it was told that nothing more will come.
    """

    def __init__(self) -> None:
        self.stream = 0
        self.answers = 0
        self.closed = False
        self.sent: Deque[Entry] = deque()


class StreamLog:
    """The images read and not yet handed to the caller, in order. Not thread-safe.

    Attributes:
      exhausted: the caller's iterator has ended; `failure`: with this.
      broken: why the whole ends early.
    """

    def __init__(self, options: Options, limits: Limits, kind: _inputs.Kind, streams: int) -> None:
        self.lanes = [Lane() for _ in range(streams)]
        self.exhausted = False
        self.failure: Optional[BaseException] = None
        self.broken: Optional[BaseException] = None
        self._options = options
        self._limits = limits
        self._kind = kind
        self._source = _inputs.Source(iter(()), kind)
        self._entries: Deque[Entry] = deque()
        self._unsent: List[Any] = []  # heap of (index, entry): what a broken stream owed goes first
        self._bytes = 0
        self._lane_images = WINDOW_IMAGES if streams == 1 else LANE_IMAGES
        self._fingerprint = options.expect_fingerprint
        self._fingerprint_from = ""

    @property
    def finished(self) -> bool:
        return self.exhausted and not self._entries

    @property
    def ready(self) -> bool:
        return bool(self._entries) and self._entries[0].result is not None

    def begin(self, lane: Lane) -> int:
        """A stream begins; gives its number. What the one before owed is sent again."""
        for entry in lane.sent:
            heapq.heappush(self._unsent, (entry.index, entry))
        lane.sent.clear()
        lane.answers = 0
        lane.closed = False
        lane.stream += 1
        return lane.stream

    def settings(self) -> bytes:
        """What the first message says beside its input."""
        return _wire.stream_settings(
            self._options.dtype, self._options.normalize, self._options.priority, self._fingerprint
        )

    def has_room(self) -> bool:
        streams = len(self.lanes)
        return len(self._entries) < WINDOW_IMAGES * streams and self._bytes < WINDOW_BYTES * streams

    def take(self, lane: Lane) -> Optional[Message]:
        """What to send next; None when it has to be read first, when the lane holds enough, or when it is closed."""
        lane.closed = self.exhausted and not self._unsent
        if not self._unsent or len(lane.sent) >= self._lane_images:
            return None
        _, entry = heapq.heappop(self._unsent)
        lane.sent.append(entry)
        return Message(entry.content, entry.id)

    def load(self, value: Any) -> Entry:
        """Makes an entry of what the caller's iterator gave. May read a file; changes nothing."""
        name, image = value if _is_pair(value) else ("", value)
        item = self._source.item(image)
        try:
            loaded = _inputs.load(item, self._limits)
        except errors.InputRejected as error:
            return Entry(item.index, name, None, error)
        return Entry(item.index, name, loaded.content)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.content is not None:
            heapq.heappush(self._unsent, (entry.index, entry))
            self._bytes += entry.content.size

    def answer(self, lane: Lane, response: pb.EmbedStreamResponse, target: str) -> None:
        """Takes in what the server said on this lane."""
        if not lane.sent or response.index != lane.answers:
            raise errors.ServerError(f"the stream answered input {response.index}, expected {lane.answers}")
        entry = lane.sent.popleft()
        lane.answers += 1
        self._bytes -= entry.content.size
        entry.content = None
        fingerprint = response.model_fingerprint
        if response.HasField("error"):
            error = self._kind.rejected(entry.index, response.error)
            entry.result = StreamResult(entry.index, entry.id, None, error, fingerprint)
            return
        self._fingerprint = self._fingerprint or fingerprint
        self._fingerprint_from = self._fingerprint_from or target
        _job.check_same_model(self._fingerprint, fingerprint, self._fingerprint_from, target)
        self._fingerprint = fingerprint
        row = _wire.rows(response.data, 1, response.dimension, self._options.dtype)[0]
        vector = row.astype(row.dtype.newbyteorder("="))  # a writable copy, which does not keep the message alive
        entry.result = StreamResult(entry.index, entry.id, vector, None, fingerprint)

    def take_ready(self) -> List[StreamResult]:
        """The results that are next in order."""
        results = []
        while self.ready:
            results.append(self._entries.popleft().result)
        return results

    def cut_short(self, lane: Lane, attempt: Attempt) -> Optional[errors.EmbedError]:
        """The error of a stream that ended before all was answered."""
        if lane.closed and not lane.sent:
            return None
        error = errors.ServerUnavailable("the server ended the stream early", reason=_status.TRANSPORT)
        return attempt.failed(error, "EmbedStream")

    def named(self, error: errors.EmbedError) -> errors.EmbedError:
        """An error for good; of two servers that differ, with both their names."""
        return _job.name_both(error, self._fingerprint, self._fingerprint_from)

    def end(self) -> None:
        """Nothing more is to come: raises what ended it, if it did not just end."""
        reason = self.broken or self.failure
        if reason is not None:
            raise reason


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


class _Feeder:
    """Reads the caller's iterator in gRPC's threads, and hands out what is to be sent."""

    def __init__(self, log: StreamLog, images: Iterable[Any]) -> None:
        self.changed = threading.Condition()
        self.stopped = threading.Event()
        self._log = log
        self._iterator = iter(_inputs.Source(images).inputs)
        self._reading = False

    def begin(self, lane: Lane) -> Iterator[bytes]:
        """The messages of a new stream; those of the lane's stream before end."""
        with self.changed:
            stream = self._log.begin(lane)
            self.changed.notify_all()
        return self._messages(lane, stream)

    def stop(self) -> None:
        with self.changed:
            self.stopped.set()
            self.changed.notify_all()

    def _messages(self, lane: Lane, stream: int) -> Iterator[bytes]:
        settings = self._log.settings()
        while True:
            message = self._next(lane, stream)
            if message is None:
                return
            yield message.pack(settings)
            settings = b""

    def _next(self, lane: Lane, stream: int) -> Optional[Message]:
        while True:
            with self.changed:
                while True:
                    if self.stopped.is_set() or stream != lane.stream:
                        return None
                    message = self._log.take(lane)
                    if message is not None or lane.closed:
                        return message
                    if not self._reading and not self._log.exhausted and self._log.has_room():
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
        except BaseException as error:  # it is the caller's, and is raised where the caller is
            failure, end = error, True
        with self.changed:
            self._reading = False
            if made is not None:
                self._log.append(made)
            self._log.exhausted, self._log.failure = end, failure
            self.changed.notify_all()


def run(
    connection: Any, images: Iterable[Any], options: Options, kind: _inputs.Kind, streams: int
) -> Iterator[StreamResult]:
    """Yields the results; `connection` is a `_sync.Connection`."""
    log = StreamLog(options, connection.limits(options), kind, streams)
    feeder = _Feeder(log, images)
    calls: List[Any] = [None] * streams

    def work(number: int) -> None:
        try:
            _work(connection, feeder, log, number, calls, options)
        except BaseException as error:  # such as those of a function that gives the token
            log.broken = log.broken or error
        with feeder.changed:
            feeder.changed.notify_all()

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work, number), name="embedd-stream", daemon=True)
        for number in range(streams)
    ]
    for thread in threads:
        thread.start()
    try:
        while True:
            with feeder.changed:
                feeder.changed.wait_for(lambda: log.ready or log.broken or log.finished)
                results = log.take_ready()
                feeder.changed.notify_all()
            yield from results
            if not results:
                log.end()
                return
    finally:
        feeder.stop()
        for call in list(calls):
            if call is not None:
                call.cancel()
        for thread in threads:
            thread.join()


def _work(connection: Any, feeder: _Feeder, log: StreamLog, number: int, calls: List[Any], options: Options) -> None:
    """One stream after the other, until all is answered."""
    lane = log.lanes[number]
    retry = Retry(options.retry_for)
    while not feeder.stopped.is_set():
        retry.attempts += 1
        attempt = connection.pool.begin(OPEN, stream=True)
        with connection.noticing_close():
            calls[number] = call = connection.open_stream(feeder.begin(lane), attempt)
        try:
            if feeder.stopped.is_set():  # nobody else will cancel a call that was opened too late
                return
            for response in call:
                attempt.succeeded("EmbedStream")
                retry = Retry(options.retry_for)
                with feeder.changed:
                    log.answer(lane, response, attempt.replica.target.name)
                    feeder.changed.notify_all()
            error = log.cut_short(lane, attempt)
        except grpc.RpcError as failure:
            if feeder.stopped.is_set():
                return
            connection.check_open()
            made = _status.from_rpc_error(failure, attempt.replica.target, None)
            error = attempt.failed(made, "EmbedStream")
        finally:
            call.cancel()
            attempt.left()
        if error is None:
            return
        step = retry.after(error, 1)
        if step.delay is None:
            raise _diagnose.explained(log.named(error), connection.endpoint)
        connection.pool.retrying(error)
        feeder.stopped.wait(step.delay)
