# SPDX-License-Identifier: Apache-2.0
"""`embedd.aio.EmbedClient`: the client for asyncio. Same methods, arguments and results as `embedd.EmbedClient`.

Files are read and pixels converted in asyncio's worker threads; everything else runs in the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, AsyncIterable, AsyncIterator, Deque, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import grpc
import numpy as np

from . import _images, _job, _session, _status, _stream, errors
from ._channel import Endpoint, Tls, Token
from ._retry import Retry
from .result import EmbedResult, StreamResult
from .v1 import embedding_service_pb2 as pb

_END = object()


class EmbedClient:
    """Client of an embedd server, for asyncio. One connection per event loop, opened on first use.

    Arguments as in `embedd.EmbedClient`. Close it with `await client.close()` or use it in `async with`. Processes that
    fork should do so before they use it.
    """

    def __init__(
        self,
        target: Optional[str] = None,
        *,
        tls: Tls = None,
        token: Token = None,
        timeout: float = 60.0,
        channel_options: Sequence[Tuple[str, Any]] = (),
    ) -> None:
        self._endpoint = Endpoint(target, tls, token, channel_options)
        self._timeout = timeout
        self._closed = False
        self._connections: Dict[asyncio.AbstractEventLoop, _Connection] = {}

    @property
    def target(self) -> str:
        """Address of the server."""
        return self._endpoint.target

    async def embed_images(
        self,
        images: Any,
        *,
        batch_size: Optional[int] = None,
        show_progress_bar: Optional[bool] = None,
        normalize: bool = True,
        dtype: str = "float32",
        timeout: Optional[float] = None,
        on_error: str = "raise",
        priority: Optional[str] = None,
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
    ) -> np.ndarray:
        """As `embedd.EmbedClient.embed_images`; `images` may be an asynchronous iterator too."""
        result = await self.embed_images_detailed(
            images,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize=normalize,
            dtype=dtype,
            timeout=timeout,
            on_error=on_error,
            priority=priority,
            expect_fingerprint=expect_fingerprint,
            retry_for=retry_for,
        )
        return result.vectors

    async def embed_images_detailed(
        self,
        images: Any,
        *,
        batch_size: Optional[int] = None,
        show_progress_bar: Optional[bool] = None,
        normalize: bool = True,
        dtype: str = "float32",
        timeout: Optional[float] = None,
        on_error: str = "return",
        priority: Optional[str] = None,
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
    ) -> EmbedResult:
        """As `embedd.EmbedClient.embed_images_detailed`."""
        source = _images.open_source(images)
        options = _job.make_options(
            source,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize=normalize,
            dtype=dtype,
            timeout=self._timeout if timeout is None else timeout,
            on_error=on_error,
            priority=priority,
            expect_fingerprint=expect_fingerprint,
            retry_for=retry_for,
        )
        connection = self._connection()
        job = _job.Job(source, options, await connection.limits(options))
        try:
            count = await _run(connection, job, source)
            return job.result(count)
        finally:
            job.close()

    async def embed_images_batch(self, images: Any) -> List[List[float]]:
        """As `embedd.EmbedClient.embed_images_batch`."""
        return (await self.embed_images(images)).tolist()

    def embed_stream(
        self,
        images: Union[Iterable[Any], AsyncIterable[Any]],
        *,
        normalize: bool = True,
        dtype: str = "float32",
        priority: str = "bulk",
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
    ) -> AsyncIterator[StreamResult]:
        """As `embedd.EmbedClient.embed_stream`, as an asynchronous iterator."""
        options = _job.make_options(
            _images.Source(iter(())),
            normalize=normalize,
            dtype=dtype,
            timeout=self._timeout,
            on_error="return",
            priority=priority,
            expect_fingerprint=expect_fingerprint,
            retry_for=_job.DEFAULT_RETRY_FOR_S if retry_for is None else retry_for,
        )
        return _stream_results(self, images, options)

    async def server_info(self, *, timeout: Optional[float] = None) -> pb.GetServerInfoResponse:
        """As `embedd.EmbedClient.server_info`."""
        seconds = self._timeout if timeout is None else timeout
        return await self._connection().ask(seconds)

    async def wait_ready(self, timeout: float = 300.0) -> pb.GetServerInfoResponse:
        """As `embedd.EmbedClient.wait_ready`."""
        return await self._connection().drive(_job.wait_ready_steps(timeout))

    async def close(self) -> None:
        """Closes the connection of this event loop. The client cannot be used after that."""
        self._closed = True
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.channel.close()

    async def __aenter__(self) -> "EmbedClient":
        return self

    async def __aexit__(self, *_exc: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"aio.EmbedClient({self.target!r})"

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_connections": {}}

    def _connection(self) -> "_Connection":
        if self._closed:
            raise errors.EmbedError("this client is closed; make a new one")
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            # One client may serve many asyncio.run(); what belonged to a loop that is over goes.
            self._connections = {old: kept for old, kept in self._connections.items() if not old.is_closed()}
            self._connections[loop] = _Connection(self._endpoint)
        return self._connections[loop]


class _Connection:
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

    async def limits(self, options: _job.Options) -> _job.Limits:
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


async def _run(connection: _Connection, job: _job.Job, source: _images.Source) -> int:
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
    connection: _Connection, job: _job.Job, batch: List[_images.Item], turns: asyncio.Semaphore
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
        self._sync = iter(images) if self._async is None else None
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


async def _stream_results(client: EmbedClient, images: Any, options: _job.Options) -> AsyncIterator[StreamResult]:
    connection = client._connection()
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
