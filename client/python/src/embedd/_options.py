# SPDX-License-Identifier: Apache-2.0
"""Arguments of the `embed_...` methods, checked, and the limits of the server. Shared by the two clients."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, FrozenSet, NamedTuple, Optional, Tuple

import numpy as np

from . import _formats, _shown, _wire
from .v1 import embedding_service_pb2 as pb

if TYPE_CHECKING:
    from . import _images

# A call as large as a device batch of the server is (its --max-batch default).
DEFAULT_BATCH_SIZE = 64
# Up to here somebody is thought to wait for the answer.
INTERACTIVE_IMAGES = 16
# How long a job outlasts an outage or a full queue.
DEFAULT_RETRY_FOR_S = 300.0


class Limits(NamedTuple):
    """What the server takes; conservative where it does not say."""

    message_bytes: int = 4 << 20
    inputs: int = DEFAULT_BATCH_SIZE
    image_bytes: int = 4 << 20
    queue_images: int = DEFAULT_BATCH_SIZE
    dimension: int = 0
    pixels: int = 64 << 20
    formats: FrozenSet[str] = frozenset()  # `_formats.names`; empty: not known

    @staticmethod
    def of(info: pb.GetServerInfoResponse) -> "Limits":
        known, fallback = info.limits, Limits()
        message = known.max_message_bytes or fallback.message_bytes
        return Limits(
            message_bytes=message,
            inputs=known.max_inputs_per_request or fallback.inputs,
            image_bytes=known.max_image_bytes or message,
            queue_images=known.queue_images or fallback.queue_images,
            dimension=info.model.dimension,
            pixels=known.max_pixels or fallback.pixels,
            formats=_formats.names(info.accepted_formats),
        )


@dataclass(frozen=True)
class Options:
    """Checked arguments of an `embed_...` call."""

    batch_size: Optional[int]
    show_progress_bar: Optional[bool]
    normalize: bool
    dtype: str
    timeout: float
    on_error: str
    priority: str
    expect_fingerprint: str
    retry_for: float
    deadline: Optional[float]  # on time.monotonic's clock

    @property
    def interactive(self) -> bool:
        return self.priority == "interactive"


def make_options(
    source: _images.Source,
    *,
    batch_size: Optional[int] = None,
    show_progress_bar: Optional[bool] = None,
    normalize: bool = True,
    dtype: str = "float32",
    timeout: float,
    on_error: str = "raise",
    priority: Optional[str] = None,
    expect_fingerprint: Optional[str] = None,
    retry_for: Optional[float] = None,
) -> Options:
    """Checks arguments; raises ValueError with what is allowed."""
    dtype = np.dtype(dtype).name if not isinstance(dtype, str) else dtype
    _one_of("dtype", dtype, _wire.DTYPES)
    _one_of("on_error", on_error, ("raise", "return"))
    if batch_size is not None and batch_size <= 0:
        raise ValueError(f"batch_size is {batch_size}; pass 1 or more, or None for the client's choice")
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout}; pass seconds, more than 0")
    if retry_for is not None and retry_for < 0:
        raise ValueError(f"retry_for is {retry_for}; pass seconds, 0 for no retries")
    if priority is None:
        few = source.total is not None and source.total <= INTERACTIVE_IMAGES
        priority = "interactive" if few else "bulk"
    _one_of("priority", priority, tuple(_wire.PRIORITIES))
    interactive = priority == "interactive"
    if retry_for is None:
        retry_for = timeout if interactive else DEFAULT_RETRY_FOR_S
    return Options(
        batch_size=batch_size,
        show_progress_bar=show_progress_bar,
        normalize=normalize,
        dtype=dtype,
        timeout=timeout,
        on_error=on_error,
        priority=priority,
        expect_fingerprint=expect_fingerprint or "",
        retry_for=retry_for,
        # Where somebody waits, `timeout` covers retries too; a long job gets it for every attempt.
        deadline=time.monotonic() + timeout if interactive else None,
    )


def _one_of(name: str, value: Any, allowed: Tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {_shown.text(repr(value))}; pass one of {', '.join(map(repr, allowed))}")
