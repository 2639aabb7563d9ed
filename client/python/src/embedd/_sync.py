# SPDX-License-Identifier: Apache-2.0
"""How `EmbedClient` does its work: a connection, and threads for jobs of several calls. See also `_async.py`."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, List, Optional

import grpc

from . import _fork, _images, _job, _session, _status, errors
from ._channel import Endpoint
from ._options import Limits, Options
from ._retry import Retry
from .v1 import embedding_service_pb2 as pb


class Connection:
    """A channel and what belongs to it: one per client and process."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.state = _session.State(endpoint.target)
        self.gate = _fork.CallGate()
        credentials = endpoint.credentials()
        if credentials is None:
            self.channel = grpc.insecure_channel(endpoint.target, options=endpoint.options)
        else:
            self.channel = grpc.secure_channel(endpoint.target, credentials, options=endpoint.options)
        self._methods = {
            name: self.channel.unary_unary(_session.SERVICE + name, response_deserializer=parse)
            for name, parse in _session.PARSERS.items()
        }
        self.stream = self.channel.stream_stream(
            _session.SERVICE + "EmbedStream", response_deserializer=pb.EmbedStreamResponse.FromString
        )

    def close(self) -> None:
        self.channel.close()

    def limits(self, options: Options) -> Limits:
        """The server's limits; asks for them once."""
        if self.state.limits is not None:
            return self.state.limits
        retry = Retry(options.retry_for, options.deadline)
        return self.state.learn(self.drive(_job.server_info_steps(options.timeout, retry)))

    def ask(self, timeout: float) -> pb.GetServerInfoResponse:
        """A fresh GetServerInfoResponse."""
        info = self.drive(_job.server_info_steps(timeout, Retry.within(timeout)))
        self.state.learn(info)
        return info

    def drive(self, steps: _job.Steps, workers: Optional["Workers"] = None) -> Any:
        """Does what `steps` wants until it is through; gives its result."""
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = self._perform(wanted, workers)
                except errors.EmbedError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as stop:
            return stop.value

    def _perform(self, wanted: Any, workers: Optional["Workers"]) -> Any:
        if isinstance(wanted, _job.Sleep):
            if wanted.error is not None:
                self.state.failed(wanted.error)
            pause = workers.cancelled if workers else threading.Event()
            if pause.wait(wanted.seconds):
                raise errors.EmbedError("cancelled")
            return None
        method = self._methods[wanted.method]
        metadata = self.endpoint.metadata()
        try:
            if workers is None:
                with self.gate:
                    answer = method(wanted.payload, timeout=wanted.timeout, metadata=metadata)
            else:
                with workers.turns, self.gate:
                    answer = workers.result_of(method.future(wanted.payload, timeout=wanted.timeout, metadata=metadata))
        except grpc.FutureCancelledError:
            raise errors.EmbedError("cancelled") from None
        except grpc.RpcError as error:
            raise _status.from_rpc_error(error, self.endpoint.target, wanted.timeout) from error
        self.state.succeeded()
        return answer


class Workers:
    """Threads of one job: a few more than calls in flight, so that files are read while calls are under way."""

    READ_AHEAD = 2

    def __init__(self, calls_in_flight: int) -> None:
        self.size = calls_in_flight + self.READ_AHEAD
        self.turns = threading.BoundedSemaphore(calls_in_flight)
        self.cancelled = threading.Event()
        self.pool = ThreadPoolExecutor(self.size, thread_name_prefix="embedd")
        self._lock = threading.Lock()
        self._calls: set = set()

    def result_of(self, call: Any) -> Any:
        with self._lock:
            self._calls.add(call)
        try:
            if self.cancelled.is_set():
                call.cancel()
            return call.result()
        finally:
            with self._lock:
                self._calls.discard(call)

    def stop(self) -> None:
        """Ends at once what is under way: calls, pauses between attempts, images not yet read."""
        self.cancelled.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()
        self.pool.shutdown(wait=True, cancel_futures=True)


def run(connection: Connection, job: _job.Job, source: _images.Source) -> int:
    """Embeds all of `source` into `job`; gives the number of images."""
    batches = job.planner.cut(source)
    first = next(batches, None)
    if first is None:
        return 0
    second = next(batches, None)
    if second is None:  # one call: no threads
        job.merge(_embed(connection, job, first, None))
        return len(first)
    count = 0
    workers = Workers(job.calls_in_flight(first))
    ahead: Deque["Future[List[_job.Part]]"] = deque()
    try:
        for batch in itertools.chain((first, second), batches):
            count += len(batch)
            ahead.append(workers.pool.submit(_embed, connection, job, batch, workers))
            while ahead and (len(ahead) >= workers.size or ahead[0].done()):
                job.merge(ahead.popleft().result())
        while ahead:
            job.merge(ahead.popleft().result())
    finally:
        workers.stop()
    return count


def _embed(
    connection: Connection, job: _job.Job, batch: List[_images.Item], workers: Optional[Workers]
) -> List[_job.Part]:
    loaded, rejections = job.load(batch)
    parts = connection.drive(job.send_steps(loaded), workers)
    return parts + [_job.unread(rejections)] if rejections else parts
