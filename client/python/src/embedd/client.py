# SPDX-License-Identifier: Apache-2.0
"""`EmbedClient`: images in, numpy arrays out. Threads do the work; `aio.py` is the same with asyncio."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from . import _fork, _inputs, _job, _options, _stream, _sync, errors
from ._channel import Endpoint, Targets, Tls, Token
from .result import EmbedResult, StreamResult
from .v1 import embedding_service_pb2 as pb


class EmbedClient:
    """Client of an embedd server, or of several that run the same model.

    Several share the work: each gets calls as fast as it answers them, and one that is away, drains or refuses is left
    out until it is back. Thread-safe. Opens its connection on first use, one per process: it may be used before and after `fork()`, and
    pickled. Close it, or use it in a `with` statement.

    Args:
      target: HOST:PORT, `unix:/path`, any gRPC name (`dns:///name:port` for all addresses of a name), or one of those
        after `grpc://` or `grpcs://` (TLS); several in one string with commas, or as a list. None: the environment
        variable EMBEDD_TARGET, else localhost:50051.
      tls: None: no TLS. True: the system's authorities. A path: the PEM file of the authority. A dict with `ca`,
        `cert`, `key` (paths or bytes) for mutual TLS.
      token: bearer token, or a function that gives the current one; asked before every call.
      timeout: seconds, the default of the methods below.
      channel_options: more gRPC channel options, (name, value) pairs; they win over the client's own.
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
        self._connections: Dict[Tuple[int, int], _sync.Connection] = {}

    @property
    def target(self) -> str:
        """Address of the server; of several, with commas."""
        return self._endpoint.name

    def embed_images(
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
        """Embeds images.

        Args:
          images: one image or a list or iterator of images. An image is a path (str or Path), the bytes of an image
            file, an open binary file or BytesIO, a PIL image, or a uint8 array [height, width, 3] (RGB) or
            [height, width] (grey). Files travel as they are, pixels raw: nothing is compressed anew; a file of a
            format that the server does not read travels as pixels when Pillow is installed. Iterators are read as the work goes on, a few
            calls ahead. An array [N, height, width, 3] is N images.
          batch_size: most images in one call; None: the client's choice (64). Calls are also cut by bytes (8 MiB) and
            by the server's limits, and several are under way at once. The result does not depend on it.
          show_progress_bar: None: only when the logger "embedd" is at INFO or DEBUG. Needs tqdm.
          normalize: whether vectors have L2 norm 1.
          dtype: of the result, "float32" or "float16". float16 halves what travels; its error is below 1e-4.
          timeout: seconds for one call to the server; None: that of the client (60). Interactive: for everything,
            retries included.
          on_error: what an image that cannot be embedded does. "raise": raises `ImageRejected`. "return": its row is
            NaN, a warning is logged, and `embed_images_detailed` tells why.
          priority: "interactive" goes before "bulk" in the server's queue. None: interactive up to 16 images, bulk for
            more and for iterators.
          expect_fingerprint: fingerprint of the model that the vectors have to come from, or IMAGE+TEXT of both its
            towers; None: whichever serves, the same for all of `images`.
          retry_for: seconds to go on when the server is away or full, counted per call from its first failure. None:
            300, or `timeout` when interactive. 0: never. A call is sent again as it is, and its answer used once.

        Returns:
          Array [N, D] in the order of `images`; [1, D] for one image.

        Raises:
          ImageRejected, Overloaded, DeadlineExceeded, ServerUnavailable, ModelMismatch, Unauthenticated,
          InvalidRequest, ServerError: all of them `EmbedError`. TypeError, ValueError: for what is no image, or wrong
          arguments.
        """
        return self._embed(_inputs.open_source(images), locals()).vectors

    def embed_images_detailed(
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
        """`embed_images` with everything that is known: vectors, errors, fingerprint, and where the time went.

        Arguments as there, but images that fail are returned by default.
        """
        return self._embed(_inputs.open_source(images), locals())

    def embed_texts(
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
        """Embeds texts, with a model that has a text tower (`server_info().model.towers`).

        Vectors of texts and of images of one model may be compared. Texts that are longer than the model's context are
        cut, as its own library does; an empty text is a text like any other.

        Args:
          texts: one string, or a list or iterator of strings.
          expect_fingerprint: that of the text tower, which is not the one of the images, or IMAGE+TEXT.
          The others: as in `embed_images`.

        Returns:
          Array [N, D] in the order of `texts`; [1, D] for one string.

        Raises:
          TextRejected, and what `embed_images` raises.
        """
        return self._embed(_inputs.open_source(texts, _inputs.TEXTS), locals()).vectors

    def embed_texts_detailed(
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
        """`embed_texts` with everything that is known, as `embed_images_detailed`."""
        return self._embed(_inputs.open_source(texts, _inputs.TEXTS), locals())

    def embed_images_batch(self, images: Any) -> List[List[float]]:
        """`embed_images(images)` as lists of Python floats, for code written against `embedding_service`."""
        return self.embed_images(images).tolist()

    def embed_stream(
        self,
        images: Iterable[Any],
        *,
        normalize: bool = True,
        dtype: str = "float32",
        priority: str = "bulk",
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
        streams: int = 1,
    ) -> Iterator[StreamResult]:
        """Embeds an endless row of images, each answered as soon as it is ready, in order.

        For many images at hand `embed_images` is faster. There is no deadline; end it by closing the generator.

        Args:
          images: images as in `embed_images`, or (id, image) pairs. Read in another thread, at most 256 images ahead
            of the answers.
          normalize, dtype, priority, expect_fingerprint: as in `embed_images`.
          retry_for: seconds to go on when the server is away or full; None: 300. Images not yet answered are sent
            again, by whichever server is there; each is answered once.
          streams: how many streams to use at once, each at the server that has the fewest. One stream stays at one
            server; take as many as there are servers to use them all. The order stays.

        Yields:
          One `StreamResult` per image. An image that fails is a result with an error, not an exception.
        """
        return self._stream(images, _inputs.IMAGES, locals())

    def embed_texts_stream(
        self,
        texts: Iterable[Any],
        *,
        normalize: bool = True,
        dtype: str = "float32",
        priority: str = "bulk",
        expect_fingerprint: Optional[str] = None,
        retry_for: Optional[float] = None,
        streams: int = 1,
    ) -> Iterator[StreamResult]:
        """`embed_stream` for texts: strings, or (id, string) pairs."""
        return self._stream(texts, _inputs.TEXTS, locals())

    def server_info(self, *, timeout: Optional[float] = None) -> pb.GetServerInfoResponse:
        """What the server says of itself: model, device, limits, batching, memory, state, versions.

        Asks anew each time; the fields are explained in `proto/embedd/v1/embedding_service.proto`.
        """
        seconds = float(self._timeout if timeout is None else timeout)
        return self._connection().ask(seconds)

    def wait_ready(self, timeout: float = 300.0) -> pb.GetServerInfoResponse:
        """Waits until the model serves. Raises ServerUnavailable when it does not within `timeout` seconds."""
        return self._connection().drive(_job.wait_ready_steps(float(timeout)))

    def close(self) -> None:
        """Closes the connection of this process. The client cannot be used after that."""
        self._closed = True
        connection = self._connections.pop(_fork.process_key(), None)
        if connection is not None:
            connection.close()

    def __enter__(self) -> "EmbedClient":
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EmbedClient({self.target!r})"

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_connections": {}}

    def _embed(self, source: _inputs.Source, arguments: Dict[str, Any]) -> EmbedResult:
        options = _options.of_job(source, self._timeout, arguments)
        connection = self._connection()
        job = _job.Job(source, options, connection.limits(options))
        try:
            count = _sync.run(connection, job, source)
            return job.result(count)
        finally:
            job.close()

    def _stream(self, inputs: Iterable[Any], kind: _inputs.Kind, arguments: Dict[str, Any]) -> Iterator[StreamResult]:
        options, streams = _options.of_stream(_inputs.Source(iter(()), kind), self._timeout, arguments)
        return _stream.run(self._connection(), inputs, options, kind, streams)

    def _connection(self) -> _sync.Connection:
        if self._closed:
            raise errors.EmbedError(errors.CLOSED)
        # The connection that a child inherits from its parent stays in the table, untouched: closing it would end the
        # parent's.
        key = _fork.process_key()
        if key not in self._connections:
            with _fork.opening:
                if key not in self._connections:
                    self._connections[key] = _sync.Connection(self._endpoint)
        return self._connections[key]
