# SPDX-License-Identifier: Apache-2.0
"""How `aio.EmbedClient` does its work: a connection, and tasks for jobs and streams. `_sync.py` and `_stream.py` are
its counterparts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, AsyncIterator, Callable, Deque, List, Optional

import grpc

from . import _images, _job, _session, _status, _stream, errors
from ._channel import Endpoint
from ._options import Limits, Options
from ._retry import Retry
from .result import StreamResult
from .v1 import embedding_service_pb2 as pb

_END = object()


class Connection:
    """A channel and what belongs to it: one per client and event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.state = _session.State(endpoint.target)
        credentials = endpoint.credentials()
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(endpoint.target, options=endpoint.options)
        else:
            self.channel = grpc.aio.secure_channel(endpoint.target, credentials, options=endpoint.options)
        self._methods = {
            name: self.channel.unary_unary(_session.SERVICE + name, response_deserializer=parse)
            for name, parse in _session.PARSERS.items()
        }
        self.stream = self.channel.stream_stream(
            _session.SERVICE + "EmbedStream", response_deserializer=pb.EmbedStreamResponse.FromString
        )

    async def limits(self, options: Options) -> Limits:
        """The server's limits; asks for them once."""
        if self.state.limits is not None:
            return self.state.limits
        retry = Retry(options.retry_for, options.deadline)
        return self.state.learn(await self.drive(_job.server_info_steps(options.timeout, retry)))

    async def ask(self, timeout: float) -> pb.GetServerInfoResponse:
        """A fresh GetServerInfoResponse."""
        info = await self.drive(_job.server_info_steps(timeout, Retry.within(timeout)))
        self.state.learn(info)
        return info

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

    async def _perform(self, wanted: Any, turns: Optional[asyncio.Semaphore]) -> Any:
        if isinstance(wanted, _job.Sleep):
            if wanted.error is not None:
                self.state.failed(wanted.error)
            await asyncio.sleep(wanted.seconds)
            return None
        method = self._methods[wanted.method]
        try:
            if turns is None:
                answer = await method(wanted.payload, timeout=wanted.timeout, metadata=self.endpoint.metadata())
            else:
                async with turns:
                    answer = await method(wanted.payload, timeout=wanted.timeout, metadata=self.endpoint.metadata())
        except grpc.RpcError as error:
            raise _status.from_rpc_error(error, self.endpoint.target, wanted.timeout) from error
        self.state.succeeded()
        return answer


async def run(connection: Connection, job: _job.Job, source: _images.Source) -> int:
    """Embeds all of `source` into `job`; gives the number of images."""
    count = 0
    ahead: Deque["asyncio.Task[List[_job.Part]]"] = deque()
    turns: Optional[asyncio.Semaphore] = None
    most = 0
    try:
        async for batch in _batches(job, source):
            if turns is None:
                calls = job.calls_in_flight(batch)
                turns, most = asyncio.Semaphore(calls), calls + 2
            count += len(batch)
            ahead.append(asyncio.ensure_future(_embed(connection, job, batch, turns)))
            while ahead and (len(ahead) >= most or ahead[0].done()):
                job.merge(await ahead[0])
                ahead.popleft()
        while ahead:
            job.merge(await ahead[0])
            ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)
    return count


async def _batches(job: _job.Job, source: _images.Source) -> AsyncIterator[List[_images.Item]]:
    if not hasattr(source.images, "__aiter__"):
        for batch in job.planner.cut(source):
            yield batch
        return
    async for value in source.images:
        full = job.planner.add(source.item(value))
        if full:
            yield full
    rest = job.planner.rest()
    if rest:
        yield rest


async def _embed(
    connection: Connection, job: _job.Job, batch: List[_images.Item], turns: asyncio.Semaphore
) -> List[_job.Part]:
    loaded, rejections = await asyncio.to_thread(job.load, batch)
    parts = await connection.drive(job.send_steps(loaded), turns)
    return parts + [_job.unread(rejections)] if rejections else parts


class _Feeder:
    """Reads the caller's iterator, for one stream after the other."""

    def __init__(self, log: _stream.StreamLog, images: Any) -> None:
        self.changed = asyncio.Condition()
        self._log = log
        self._async = images.__aiter__() if hasattr(images, "__aiter__") else None
        self._sync = iter(_images.Source(images).images) if self._async is None else None
        self._reader: Optional["asyncio.Task[None]"] = None
        self._stream = 0

    async def messages(self) -> AsyncIterator[bytes]:
        """The messages of a new stream; those of the one before end."""
        await self.stop()
        return self._messages(self._stream, self._log.begin())

    async def stop(self) -> None:
        """Ends the messages of the current stream."""
        self._stream += 1
        await self.wake()

    async def close(self) -> None:
        await self.stop()
        if self._reader is not None:
            self._reader.cancel()

    async def wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _messages(self, stream: int, cursor: int) -> AsyncIterator[bytes]:
        settings = self._log.settings()
        while True:
            entry = await self._next(stream, cursor)
            if entry is None:
                return
            cursor = entry.index + 1
            if entry.content is None:
                continue
            yield _stream.message(entry, settings)
            if settings:
                # grpc.aio loses the server's status when it refuses a stream that is still being written to. What is
                # wrong with the stream as a whole shows at its first message, so the second one waits.
                settings = b""
                async with self.changed:
                    await self.changed.wait_for(lambda: self._log.answers > 0 or stream != self._stream)

    async def _next(self, stream: int, cursor: int) -> Optional[_stream.Entry]:
        async with self.changed:
            while True:
                entry = self._log.entry(cursor)
                if stream != self._stream or (entry is None and self._log.exhausted):
                    return None
                if entry is not None:
                    return entry
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
        except Exception as error:
            failure, end = error, True
        async with self.changed:
            self._reader = None
            if made is not None:
                self._log.append(made)
            self._log.exhausted, self._log.failure = end, failure
            self.changed.notify_all()


async def stream(connect: Callable[[], Connection], images: Any, options: Options) -> AsyncIterator[StreamResult]:
    """Yields the results. Connects when it is first asked for one: there need not be an event loop before."""
    connection = connect()
    log = _stream.StreamLog(options, await connection.limits(options))
    feeder = _Feeder(log, images)
    retry = Retry(options.retry_for)
    try:
        while True:
            retry.attempts += 1
            call = connection.stream(await feeder.messages(), metadata=connection.endpoint.metadata())
            try:
                async for response in call:
                    results = [*log.failed_here(), log.answer(response)]
                    await feeder.wake()
                    connection.state.succeeded()
                    retry = Retry(options.retry_for)
                    for result in results:
                        yield result
                error = _stream.cut_short() if log.unanswered or not log.exhausted else None
            except grpc.RpcError as failure:
                error = _status.from_rpc_error(failure, connection.endpoint.target, None)
            finally:
                call.cancel()
            if error is None:
                for result in log.failed_here():
                    yield result
                if log.failure is not None:
                    raise log.failure
                return
            step = retry.after(error, 1)
            if step.delay is None:
                raise error
            connection.state.failed(error)
            await asyncio.sleep(step.delay)
    finally:
        await feeder.close()
