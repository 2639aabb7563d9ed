# SPDX-License-Identifier: Apache-2.0
"""How `aio.EmbedClient` does its work: its connections, and tasks for jobs and streams. `_sync.py` and `_stream.py` are
its counterparts.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional

import grpc

from . import _diagnose, _inputs, _job, _service, _status, _stream, errors
from ._channel import Endpoint
from ._options import Limits, Options
from ._replicas import HEALTH_TIMEOUT_S, Answer, Attempt, Call, Pool, Replica
from ._retry import Retry
from .result import StreamResult
from .v1 import embedding_service_pb2 as pb

_END = object()


class Connection:
    """A channel to each replica and what belongs to it: one per client and event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.pool = Pool(endpoint.targets)
        self._channels: Dict[str, Any] = {}
        self._methods: Dict[Any, Any] = {}
        self._health: "set[asyncio.Future[None]]" = set()  # questions under way
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        for task in list(self._health):
            task.cancel()
        await asyncio.gather(*self._health, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()

    @contextmanager
    def noticing_close(self) -> Iterator[None]:
        """Inside it, a call that ends because the connection was closed raises EmbedError."""
        self._check_open()
        try:
            yield
        except grpc.aio.UsageError:
            self._check_open()
            raise
        except asyncio.CancelledError:
            # grpc.aio cancels what is under way. Before Python 3.11 nothing tells that from the task's own end.
            if not getattr(asyncio.current_task(), "cancelling", lambda: 1)():
                self._check_open()
            raise

    async def limits(self, options: Options) -> Limits:
        """What the servers take; asks for it once."""
        known = self.pool.limits()
        if known is None and len(self.pool.replicas) > 1:
            await self._ask_all(options)
            known = self.pool.limits()
        if known is not None:
            return known
        retry = Retry(options.retry_for, options.deadline)
        return Limits.of(await self.drive(_job.server_info_steps(options.timeout, retry)))

    async def ask(self, timeout: float) -> pb.GetServerInfoResponse:
        """A fresh GetServerInfoResponse."""
        return await self.drive(_job.server_info_steps(timeout, Retry.within(timeout)))

    async def drive(self, steps: _job.Steps, turns: Optional[asyncio.Semaphore] = None) -> Any:
        """Does what `steps` wants until it is through; gives its result."""
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = await self._perform(wanted, turns)
                except errors.EmbedError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        except errors.ServerUnavailable as error:
            raise await asyncio.to_thread(_diagnose.explained, error, self.endpoint)

    async def open_stream(self, messages: Any, attempt: Attempt) -> Any:
        method = await self._method(attempt.replica, "EmbedStream")
        return method(messages, metadata=self.endpoint.metadata())

    def _check_open(self) -> None:
        if self._closed:
            raise errors.EmbedError(errors.CLOSED)

    async def _perform(self, wanted: Any, turns: Optional[asyncio.Semaphore]) -> Any:
        if isinstance(wanted, _job.Sleep):
            if wanted.error is not None:
                self.pool.retrying(wanted.error)
            await asyncio.sleep(wanted.seconds)
            return None
        async with turns or asyncio.Semaphore():
            with self.noticing_close():
                return await self._attempt(wanted)

    async def _attempt(self, wanted: Call) -> Answer:
        for replica in self.pool.health_due():
            self._health.add(asyncio.ensure_future(self._ask_health(replica)))
        attempt = self.pool.begin(wanted)
        try:
            if attempt.introduction is not None:
                await self._call(attempt.introduction, attempt)
                attempt.introduced()
            return await self._call(wanted, attempt)
        finally:
            attempt.left()

    async def _call(self, wanted: Call, attempt: Attempt) -> Answer:
        replica = attempt.replica
        method = await self._method(replica, wanted.method)
        try:
            answer = await method(wanted.payload, timeout=wanted.grpc_timeout, metadata=self.endpoint.metadata())
        except grpc.RpcError as error:
            failure = _status.from_rpc_error(error, replica.target, wanted.timeout)
            raise attempt.failed(failure, wanted.method) from error
        if wanted.method == "GetServerInfo":
            self.pool.learn(replica, answer)
        attempt.succeeded(wanted.method)
        return Answer(answer, replica.target.name)

    async def _ask_health(self, replica: Replica) -> None:
        try:
            method = await self._method(replica, _service.HEALTH)
            self.pool.health_told(replica, await method(b"", timeout=HEALTH_TIMEOUT_S))
        except (grpc.RpcError, grpc.aio.UsageError, errors.EmbedError) as error:
            self.pool.health_told(replica, None, _status.has_no_method(error))
        finally:
            self._health.discard(asyncio.current_task())

    async def _ask_all(self, options: Options) -> None:
        """Asks all replicas at once what they take; who does not answer soon is left out for now."""
        wanted = self.pool.introduction(_job.attempt_timeout(options.timeout, options.deadline))

        async def ask(replica: Replica) -> None:
            try:
                await self._call(wanted, self.pool.begin_at(replica, wanted))
            except errors.EmbedError as error:
                self.pool.retrying(error)

        await asyncio.gather(*map(ask, self.pool.replicas))

    async def _method(self, replica: Replica, name: str) -> Any:
        key = (replica.target.name, name)
        if key not in self._methods:
            await asyncio.to_thread(replica.target.resolve)
            self._check_open()
            channel = self._channels.get(replica.target.name)
            if channel is None:
                channel = self._channels[replica.target.name] = _open(replica)
            self._methods[key] = _service.method(channel, name)
        return self._methods[key]


def _open(replica: Replica) -> Any:
    target = replica.target
    credentials = target.credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(target.name, options=target.options)
    return grpc.aio.secure_channel(target.name, credentials, options=target.options)


async def run(connection: Connection, job: _job.Job, source: _inputs.Source) -> int:
    """Embeds all of `source` into `job`; gives the number of images."""
    count = 0
    ahead = _job.Ahead(job)
    turns: Optional[asyncio.Semaphore] = None
    most = 0

    async def end_some() -> None:
        done, _ = await asyncio.wait(list(ahead), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            ahead.ended(task)

    try:
        async for batch in _batches(job, source):
            if turns is None:
                calls = job.calls_in_flight(batch, connection.pool.servers)
                turns, most = asyncio.Semaphore(calls), calls + 2
            count += len(batch)
            ahead.sent(asyncio.ensure_future(_embed(connection, job, batch, turns)))
            while ahead.full(most):
                await end_some()
        while ahead:
            await end_some()
    finally:
        left = list(ahead)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return count


async def _batches(job: _job.Job, source: _inputs.Source) -> AsyncIterator[List[_inputs.Item]]:
    if not hasattr(source.inputs, "__aiter__"):
        for batch in job.planner.cut(source):
            yield batch
        return
    async for value in source.inputs:
        full = job.planner.add(source.item(value))
        if full:
            yield full
    rest = job.planner.rest()
    if rest:
        yield rest


async def _embed(
    connection: Connection, job: _job.Job, batch: List[_inputs.Item], turns: asyncio.Semaphore
) -> List[_job.Part]:
    parts: List[_job.Part] = []
    while batch:
        loaded, rejections, batch = await asyncio.to_thread(job.load, batch)
        parts += await connection.drive(job.send_steps(loaded), turns) + _job.unread(rejections)
    return parts


class _Feeder:
    """Reads the caller's iterator, for all streams; and hands out what is to be sent."""

    def __init__(self, log: _stream.StreamLog, images: Any) -> None:
        self.changed = asyncio.Condition()
        self._log = log
        self._async = images.__aiter__() if hasattr(images, "__aiter__") else None
        self._sync = iter(_inputs.Source(images).inputs) if self._async is None else None
        self._reader: Optional["asyncio.Task[None]"] = None

    async def close(self) -> None:
        async with self.changed:
            for lane in self._log.lanes:
                lane.stream += 1
            self.changed.notify_all()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def begin(self, lane: _stream.Lane) -> AsyncIterator[bytes]:
        """The messages of a new stream; those of the lane's stream before end."""
        async with self.changed:
            stream = self._log.begin(lane)
            self.changed.notify_all()
        return self._messages(lane, stream)

    async def _messages(self, lane: _stream.Lane, stream: int) -> AsyncIterator[bytes]:
        settings = self._log.settings()
        while True:
            message = await self._next(lane, stream)
            if message is None:
                return
            yield message.pack(settings)
            if settings:
                # grpc.aio loses the server's status when it refuses a stream that is still being written to. What is
                # wrong with the stream as a whole shows at its first message, so the second one waits.
                settings = b""
                async with self.changed:
                    await self.changed.wait_for(lambda: lane.answers > 0 or stream != lane.stream)

    async def _next(self, lane: _stream.Lane, stream: int) -> Optional[_stream.Message]:
        async with self.changed:
            while True:
                if stream != lane.stream:
                    return None
                message = self._log.take(lane)
                if message is not None or lane.closed:
                    return message
                # Reading is a task of its own: a stream that breaks must not cancel the caller's iterator.
                if self._reader is None and self._log.has_room():
                    self._reader = asyncio.ensure_future(self._read())
                await self.changed.wait()

    async def _read(self) -> None:
        made, failure, end = None, None, False
        try:
            value = await self._async.__anext__() if self._async is not None else next(self._sync, _END)
            if value is _END:
                end = True
            else:
                made = await asyncio.to_thread(self._log.load, value)
        except StopAsyncIteration:
            end = True
        except BaseException as error:  # it is the caller's, and is raised where the caller is
            failure, end = error, True
        async with self.changed:
            self._reader = None
            if made is not None:
                self._log.append(made)
            self._log.exhausted, self._log.failure = end, failure
            self.changed.notify_all()


async def stream(
    connect: Callable[[], Connection], images: Any, options: Options, kind: _inputs.Kind, streams: int
) -> AsyncIterator[StreamResult]:
    """Yields the results. Connects when it is first asked for one: there need not be an event loop before."""
    connection = connect()
    log = _stream.StreamLog(options, await connection.limits(options), kind, streams)
    feeder = _Feeder(log, images)

    async def work(lane: _stream.Lane) -> None:
        try:
            await _work(connection, feeder, log, lane, options)
        except BaseException as error:  # such as those of a function that gives the token
            log.broken = log.broken or error
        async with feeder.changed:
            feeder.changed.notify_all()

    tasks = [asyncio.ensure_future(work(lane)) for lane in log.lanes]
    try:
        while True:
            async with feeder.changed:
                await feeder.changed.wait_for(lambda: log.ready or log.broken or log.finished)
                results = log.take_ready()
                feeder.changed.notify_all()
            for result in results:
                yield result
            if not results:
                log.end()
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await feeder.close()


async def _work(
    connection: Connection, feeder: _Feeder, log: _stream.StreamLog, lane: _stream.Lane, options: Options
) -> None:
    """One stream after the other, until all is answered."""
    retry = Retry(options.retry_for)
    while True:
        retry.attempts += 1
        attempt = connection.pool.begin(_stream.OPEN, stream=True)
        with connection.noticing_close():
            call = await connection.open_stream(await feeder.begin(lane), attempt)
        try:
            with connection.noticing_close():
                async for response in call:
                    attempt.succeeded("EmbedStream")
                    retry = Retry(options.retry_for)
                    async with feeder.changed:
                        log.answer(lane, response, attempt.replica.target.name)
                        feeder.changed.notify_all()
            error = log.cut_short(lane, attempt)
        except grpc.RpcError as failure:
            made = _status.from_rpc_error(failure, attempt.replica.target, None)
            error = attempt.failed(made, "EmbedStream")
        finally:
            call.cancel()
            attempt.left()
        if error is None:
            return
        step = retry.after(error, 1)
        if step.delay is None:
            raise await asyncio.to_thread(_diagnose.explained, log.named(error), connection.endpoint)
        connection.pool.retrying(error)
        await asyncio.sleep(step.delay)
