# SPDX-License-Identifier: Apache-2.0
"""Arguments of the `embed_...` methods, checked, and the limits of the server. Shared by the two clients."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

import numpy as np

from . import _formats, _shown, _wire
from .v1 import embedding_service_pb2 as pb

if TYPE_CHECKING:
    from . import _inputs

# A call as large as a device batch of the server is (its --max-batch default).
DEFAULT_BATCH_SIZE = 64
# Up to here somebody is thought to wait for the answer.
INTERACTIVE_IMAGES = 16
# How long a job outlasts an outage or a full queue.
DEFAULT_RETRY_FOR_S = 300.0
# Each takes a thread and a window of images.
MAX_STREAMS = 64


class Limits(NamedTuple):
    """What the server takes; conservative where it does not say. Of several servers, see `shared`."""

    message_bytes: int = 4 << 20
    call_bytes: int = 4 << 20  # what calls are cut at; a single input may take `message_bytes`
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
            call_bytes=message,
            inputs=known.max_inputs_per_request or fallback.inputs,
            image_bytes=known.max_image_bytes or message,
            queue_images=known.queue_images or fallback.queue_images,
            dimension=info.model.dimension,
            pixels=known.max_pixels or fallback.pixels,
            formats=_formats.names(info.accepted_formats),
        )

    @staticmethod
    def shared(known: "List[Limits]") -> "Limits":
        """Of several servers: calls that each of them takes, and images that one of them takes."""
        return Limits(
            message_bytes=max(one.message_bytes for one in known),
            call_bytes=min(one.call_bytes for one in known),
            inputs=min(one.inputs for one in known),
            image_bytes=max(one.image_bytes for one in known),
            queue_images=min(one.queue_images for one in known),
            dimension=known[0].dimension,
            pixels=max(one.pixels for one in known),
            formats=frozenset.intersection(*(one.formats for one in known)),
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


_ARGUMENTS = (
    "batch_size",
    "show_progress_bar",
    "normalize",
    "dtype",
    "timeout",
    "on_error",
    "priority",
    "expect_fingerprint",
    "retry_for",
)


def of_job(source: _inputs.Source, timeout: float, arguments: Dict[str, Any]) -> Options:
    """Options out of the arguments of an `embed_...` method; `timeout` is the client's."""
    given = {name: arguments[name] for name in _ARGUMENTS}
    given["timeout"] = timeout if given["timeout"] is None else given["timeout"]
    return make_options(source, **given)


def of_stream(source: _inputs.Source, timeout: float, arguments: Dict[str, Any]) -> Tuple[Options, int]:
    """The same of `embed_stream`; and how many streams it shall use."""
    given = {name: arguments[name] for name in _ARGUMENTS if name in arguments}
    given["retry_for"] = DEFAULT_RETRY_FOR_S if given["retry_for"] is None else given["retry_for"]
    if not isinstance(arguments["streams"], int) or not 1 <= arguments["streams"] <= MAX_STREAMS:
        raise ValueError(f"streams is {arguments['streams']}; pass 1 to {MAX_STREAMS}")
    return make_options(source, timeout=timeout, on_error="return", **given), arguments["streams"]


def make_options(
    source: _inputs.Source,
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
    timeout, retry_for = _seconds("timeout", timeout), _seconds("retry_for", retry_for)
    if batch_size is not None and batch_size <= 0:
        raise ValueError(f"batch_size is {batch_size}; pass 1 or more, or None for the client's choice")
    if timeout is None or not timeout > 0:
        raise ValueError(f"timeout is {timeout}; pass seconds, more than 0, or float('inf') for no limit")
    if retry_for is not None and not retry_for >= 0:
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


def _seconds(name: str, value: Any) -> Optional[float]:
    """Python's float: NumPy's float32 would make moments of the clock that are minutes off."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {_shown.text(repr(value))}; pass seconds") from None


def _one_of(name: str, value: Any, allowed: Tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {_shown.text(repr(value))}; pass one of {', '.join(map(repr, allowed))}")
