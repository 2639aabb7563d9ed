# SPDX-License-Identifier: Apache-2.0
"""How `EmbedClient` does its work: its connections, and threads for jobs of several calls. See also `_async.py`."""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, Dict, Iterator, List, Optional

import grpc

from . import _diagnose, _fork, _inputs, _job, _service, _status, errors
from ._channel import Endpoint
from ._options import Limits, Options
from ._replicas import HEALTH_TIMEOUT_S, Answer, Attempt, Call, Pool, Replica
from ._retry import Retry
from .v1 import embedding_service_pb2 as pb


class Connection:
    """A channel to each replica and what belongs to it: one per client and process."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.pool = Pool(endpoint.targets)
        self.gate = _fork.CallGate()
        self._lock = threading.Lock()
        self._channels: Dict[str, Any] = {}
        self._methods: Dict[Any, Any] = {}
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            for channel in self._channels.values():
                channel.close()

    @contextmanager
    def noticing_close(self) -> Iterator[None]:
        """Inside it, a call that ends because the connection was closed raises EmbedError."""
        try:
            yield
        except (grpc.RpcError, ValueError):  # the second is what gRPC says of a channel that is closed
            self.check_open()
            raise

    def limits(self, options: Options) -> Limits:
        """What the servers take; asks for it once."""
        known = self.pool.limits()
        if known is None and len(self.pool.replicas) > 1:
            self._ask_all(options)
            known = self.pool.limits()
        if known is not None:
            return known
        return Limits.of(self.drive(_job.server_info_steps(options.timeout, Retry(options.retry_for, options.deadline))))

    def ask(self, timeout: float) -> pb.GetServerInfoResponse:
        """A fresh GetServerInfoResponse."""
        return self.drive(_job.server_info_steps(timeout, Retry.within(timeout)))

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
        except errors.ServerUnavailable as error:
            raise _diagnose.explained(error, self.endpoint)

    def open_stream(self, messages: Any, attempt: Attempt) -> Any:
        return self._method(attempt.replica, "EmbedStream")(messages, metadata=self.endpoint.metadata())

    def check_open(self) -> None:
        """Raises EmbedError when it is closed."""
        if self._closed.is_set():
            raise errors.EmbedError(errors.CLOSED)

    def _perform(self, wanted: Any, workers: Optional["Workers"]) -> Any:
        if isinstance(wanted, _job.Sleep):
            if wanted.error is not None:
                self.pool.retrying(wanted.error)
            pause = workers.cancelled if workers else self._closed
            if pause.wait(wanted.seconds):
                raise errors.EmbedError("cancelled" if workers else errors.CLOSED)
            return None
        with workers.turns if workers else nullcontext(), self.gate, self.noticing_close():
            for replica in self.pool.health_due():
                self._ask_health(replica)
            attempt = self.pool.begin(wanted)
            try:
                if attempt.introduction is not None:
                    self._call(attempt.introduction, attempt, workers)
                    attempt.introduced()
                return self._call(wanted, attempt, workers)
            finally:
                attempt.left()

    def _call(self, wanted: Call, attempt: Attempt, workers: Optional["Workers"]) -> Answer:
        replica = attempt.replica
        method = self._method(replica, wanted.method)
        metadata = self.endpoint.metadata()
        try:
            if workers is None:
                answer = method(wanted.payload, timeout=wanted.grpc_timeout, metadata=metadata)
            else:
                answer = workers.result_of(method.future(wanted.payload, timeout=wanted.grpc_timeout, metadata=metadata))
        except grpc.FutureCancelledError:
            raise errors.EmbedError("cancelled") from None
        except grpc.RpcError as error:
            self.check_open()
            failure = _status.from_rpc_error(error, replica.target, wanted.timeout)
            raise attempt.failed(failure, wanted.method) from error
        if wanted.method == "GetServerInfo":
            self.pool.learn(replica, answer)
        attempt.succeeded(wanted.method)
        return Answer(answer, replica.target.name)

    def _ask_health(self, replica: Replica) -> None:
        """Does not wait for the answer."""

        def answered(call: Any) -> None:
            self.gate.leave()
            try:
                self.pool.health_told(replica, call.result())
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                self.pool.health_told(replica, None, _status.has_no_method(error))

        method = self._method(replica, _service.HEALTH)
        call = method.future(b"", timeout=HEALTH_TIMEOUT_S)
        self.gate.enter_again()
        call.add_done_callback(answered)

    def _ask_all(self, options: Options) -> None:
        """Asks all replicas at once what they take; who does not answer soon is left out for now."""
        wanted = self.pool.introduction(_job.attempt_timeout(options.timeout, options.deadline))

        def ask(replica: Replica) -> None:
            try:
                with self.gate:
                    self._call(wanted, self.pool.begin_at(replica, wanted), None)
            except errors.EmbedError as error:
                self.pool.retrying(error)

        with ThreadPoolExecutor(min(len(self.pool.replicas), 64)) as threads:
            for replica in self.pool.replicas:
                threads.submit(contextvars.copy_context().run, ask, replica)

    def _method(self, replica: Replica, name: str) -> Any:
        key = (replica.target.name, name)
        found = self._methods.get(key)
        if found is not None:
            return found
        replica.target.resolve()
        with self._lock:
            self.check_open()
            channel = self._channels.get(replica.target.name)
            if channel is None:
                channel = self._channels[replica.target.name] = _open(replica)
            return self._methods.setdefault(key, _service.method(channel, name))


def _open(replica: Replica) -> Any:
    target = replica.target
    credentials = target.credentials()
    if credentials is None:
        return grpc.insecure_channel(target.name, options=target.options)
    return grpc.secure_channel(target.name, credentials, options=target.options)


class Workers:
    """Threads of one job: a few more than calls in flight, so that files are read while calls are under way."""

    READ_AHEAD = 2

    def __init__(self, calls_in_flight: int) -> None:
        self.size = calls_in_flight + self.READ_AHEAD
        self.turns = threading.BoundedSemaphore(calls_in_flight)
        self.cancelled = threading.Event()
        self.pool = ThreadPoolExecutor(self.size, thread_name_prefix="embedd")
        self.done: "queue.SimpleQueue[Future[List[_job.Part]]]" = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._calls: set = set()

    def submit(self, *work: Any) -> "Future[List[_job.Part]]":
        """Runs `work` in a thread, in the caller's context: the trace around a job reaches all of its calls."""
        future = self.pool.submit(contextvars.copy_context().run, *work)
        future.add_done_callback(self.done.put)
        return future

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


def run(connection: Connection, job: _job.Job, source: _inputs.Source) -> int:
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
    workers = Workers(job.calls_in_flight(first, connection.pool.servers))
    ahead = _job.Ahead(job)
    try:
        for batch in itertools.chain((first, second), batches):
            count += len(batch)
            ahead.sent(workers.submit(_embed, connection, job, batch, workers))
            while ahead.full(workers.size) or not workers.done.empty():
                ahead.ended(workers.done.get())
        while ahead:
            ahead.ended(workers.done.get())
    finally:
        workers.stop()
    return count


def _embed(
    connection: Connection, job: _job.Job, batch: List[_inputs.Item], workers: Optional[Workers]
) -> List[_job.Part]:
    parts: List[_job.Part] = []
    while batch:
        loaded, rejections, batch = job.load(batch)
        parts += connection.drive(job.send_steps(loaded), workers) + _job.unread(rejections)
    return parts
