# SPDX-License-Identifier: Apache-2.0
"""embedd: images in, embedding vectors out, from a running embedd server.

    from embedd import EmbedClient
    with EmbedClient("gpu-host:50051") as client:
        vectors = client.embed_images(["cat.jpg", "dog.png"])  # float32 array [2, D]

`embedd.aio.EmbedClient` is the same for asyncio. The wire messages are in `embedd.v1`.
"""

import os as _os
from typing import Optional as _Optional

from ._version import __version__
from .client import EmbedClient
from .errors import (
    DeadlineExceeded,
    EmbedError,
    ImageRejected,
    InputRejected,
    InvalidRequest,
    ModelMismatch,
    Overloaded,
    ServerError,
    ServerUnavailable,
    TextRejected,
    Unauthenticated,
)
from .result import CallTiming, EmbedResult, StreamResult

__all__ = [
    "CallTiming",
    "DeadlineExceeded",
    "EmbedClient",
    "EmbedError",
    "EmbedResult",
    "ImageRejected",
    "InputRejected",
    "InvalidRequest",
    "ModelMismatch",
    "Overloaded",
    "ServerError",
    "ServerUnavailable",
    "StreamResult",
    "TextRejected",
    "Unauthenticated",
    "__version__",
    "default_client",
]

_default: _Optional[EmbedClient] = None


def default_client() -> EmbedClient:
    """The client that `embedding_service` uses: one per process, made on first use.

    Its server is EMBEDD_TARGET (default localhost:50051; `grpcs://HOST:PORT` for TLS), its token EMBEDD_TOKEN.
    """
    global _default
    if _default is None:
        _default = EmbedClient(token=_os.environ.get("EMBEDD_TOKEN") or None)
    return _default
