# SPDX-License-Identifier: Apache-2.0
"""`embedd.aio.EmbedClient`: the client for asyncio. Same methods, arguments and results as `embedd.EmbedClient`.

Files are read and pixels converted in asyncio's worker threads; everything else runs in the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterable, AsyncIterator, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _async, _inputs, _job, _options, errors
from ._channel import Endpoint, Targets, Tls, Token
from .result import EmbedResult, StreamResult
from .v1 import embedding_service_pb2 as pb


class EmbedClient:
    """Client of an embedd server, or of several, for asyncio. One connection to each per event loop, opened on first use.

    Arguments as in `embedd.EmbedClient`. Close it with `await client.close()` or use it in `async with`. Processes that
    fork should do so before they use it.
    """

    def __init__(
        self,
        target: Targets = None,
        *,
        tls: Tls = None,
        token: Token = None,
        timeout: float = 60.0,
        channel_options: Sequence[Tuple[str, Any]] = (),
    ) -> None:
        self._endpoint = Endpoint(target, tls, token, channel_options)
        self._timeout = timeout
        self._closed = False
        self._connections: Dict[asyncio.AbstractEventLoop, _async.Connection] = {}

    @property
    def target(self) -> str:
        """Address of the server; of several, with commas."""
        return self._endpoint.name

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
        return (await self._embed(_inputs.open_source(images), locals())).vectors

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
        return await self._embed(_inputs.open_source(images), locals())

    async def embed_texts(
        self,
        texts: Any,
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
        """As `embedd.EmbedClient.embed_texts`; `texts` may be an asynchronous iterator too."""
        return (await self._embed(_inputs.open_source(texts, _inputs.TEXTS), locals())).vectors

    async def embed_texts_detailed(
        self,
        texts: Any,
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
        """As `embedd.EmbedClient.embed_texts_detailed`."""
        return await self._embed(_inputs.open_source(texts, _inputs.TEXTS), locals())

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
        streams: int = 1,
    ) -> AsyncIterator[StreamResult]:
        """As `embedd.EmbedClient.embed_stream`, as an asynchronous iterator."""
        return self._stream(images, _inputs.IMAGES, locals())

    def embed_texts_stream(
        self,
        texts: Union[Iterable[Any], AsyncIterable[Any]],
        *,
        normalize: bool = True,
        dtype: str = "float32",
        priority: str = "bulk",
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
        streams: int = 1,
    ) -> AsyncIterator[StreamResult]:
        """As `embedd.EmbedClient.embed_texts_stream`, as an asynchronous iterator."""
        return self._stream(texts, _inputs.TEXTS, locals())

    async def server_info(self, *, timeout: Optional[float] = None) -> pb.GetServerInfoResponse:
        """As `embedd.EmbedClient.server_info`."""
        seconds = float(self._timeout if timeout is None else timeout)
        return await self._connection().ask(seconds)

    async def wait_ready(self, timeout: float = 300.0) -> pb.GetServerInfoResponse:
        """As `embedd.EmbedClient.wait_ready`."""
        return await self._connection().drive(_job.wait_ready_steps(float(timeout)))

    async def close(self) -> None:
        """Closes the connection of this event loop. The client cannot be used after that."""
        self._closed = True
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> "EmbedClient":
        return self

    async def __aexit__(self, *_exc: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"aio.EmbedClient({self.target!r})"

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_connections": {}}

    async def _embed(self, source: _inputs.Source, arguments: Dict[str, Any]) -> EmbedResult:
        options = _options.of_job(source, self._timeout, arguments)
        connection = self._connection()
        job = _job.Job(source, options, await connection.limits(options))
        try:
            count = await _async.run(connection, job, source)
            return job.result(count)
        finally:
            job.close()

    def _stream(
        self, inputs: Union[Iterable[Any], AsyncIterable[Any]], kind: _inputs.Kind, arguments: Dict[str, Any]
    ) -> AsyncIterator[StreamResult]:
        options, streams = _options.of_stream(_inputs.Source(iter(()), kind), self._timeout, arguments)
        return _async.stream(self._connection, inputs, options, kind, streams)

    def _connection(self) -> _async.Connection:
        if self._closed:
            raise errors.EmbedError(errors.CLOSED)
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            # One client may serve many asyncio.run(); what belonged to a loop that is over goes.
            self._connections = {old: kept for old, kept in self._connections.items() if not old.is_closed()}
            self._connections[loop] = _async.Connection(self._endpoint)
        return self._connections[loop]
