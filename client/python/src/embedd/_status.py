# SPDX-License-Identifier: Apache-2.0
"""gRPC statuses to `EmbedError`s. The only place that knows gRPC codes; shared by the two clients.

Reads `grpc-status-details-bin` (ErrorInfo, RetryInfo) and `grpc-retry-pushback-ms`, through messages of our own
(`v1/rpc_status.proto`), so that nothing clashes with googleapis-common-protos.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import grpc
from google.protobuf.message import DecodeError

from . import errors
from ._channel import Target
from .v1 import rpc_status_pb2

_Code = grpc.StatusCode

# Reason of a failure of the connection, not of the server behind it.
TRANSPORT = "TRANSPORT"
# Reason of a message that gRPC itself refused; more room does not come by waiting.
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


def from_rpc_error(error: Any, place: Target, timeout: Optional[float]) -> errors.EmbedError:
    """The typed form of a `grpc.RpcError` (or `grpc.aio.AioRpcError`) of a call to `place`."""
    code = error.code()
    text = error.details() or ""
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    reason, metadata, delay = _details(trailers.get("grpc-status-details-bin", b""))
    pushback = _pushback(trailers.get("grpc-retry-pushback-ms"))
    made = _make(code, text, reason, metadata, place, timeout, pushback if pushback is not None else delay)
    made._pushback = pushback if pushback is not None else delay
    return made


def unimplemented(error: errors.EmbedError) -> bool:
    """Whether the other side says that it does not know the method."""
    return error.code is _Code.UNIMPLEMENTED


def has_no_method(error: Exception) -> bool:
    """The same of what gRPC raised."""
    return isinstance(error, grpc.RpcError) and error.code() is _Code.UNIMPLEMENTED


def _make(code, text, reason, metadata, place, timeout, pushback) -> errors.EmbedError:
    known = {"code": code, "reason": reason}
    target = place.name
    if code is _Code.RESOURCE_EXHAUSTED:
        if not reason and pushback is None:
            known["reason"] = MESSAGE_TOO_LARGE
            return errors.InvalidRequest(
                f"{target} refused the message: {text}. Use a smaller batch_size, or raise --max-message-bytes.",
                **known,
            )
        wait = pushback if pushback is not None and pushback >= 0 else None
        hint = "Fewer calls at once, a longer retry_for, or a longer queue (--queue-images, --queue-bytes) help."
        return errors.Overloaded(f"{target} is overloaded: {text}. {hint}", retry_after=wait, **known)
    if code is _Code.UNAVAILABLE:
        return errors.ServerUnavailable(_unavailable(text, reason, place), **known)
    if code is _Code.DEADLINE_EXCEEDED:
        given = "" if timeout is None else f" within {round(timeout, 1 if timeout >= 0.1 else 3):g} s"
        late = errors.DeadlineExceeded(
            f"no answer from {target}{given}: {text}. Pass a longer timeout, or a smaller batch_size.", **known
        )
        try:
            late._late_by = (int(metadata["needed_ms"]) - int(metadata["left_ms"])) / 1000.0
        except (KeyError, ValueError):
            pass  # it was not refused at once, the time ran out
        return late
    if code in (_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED):
        return errors.Unauthenticated(
            f"{target} refused the credentials: {text}. Pass token=... (or tls={{'cert': ..., 'key': ...}}).", **known
        )
    if code is _Code.FAILED_PRECONDITION and reason == "MODEL_MISMATCH":
        return errors.ModelMismatch(
            f"{target} runs another model: {text}. Its vectors do not belong into the same collection.",
            expected=metadata.get("expected", ""),
            actual=metadata.get("actual", ""),
            **known,
        )
    if code is _Code.CANCELLED or code in (_Code.INTERNAL, _Code.UNKNOWN) and not reason:
        # A call that this side cancelled does not come here: a server that goes away cancels what is left. And embedd
        # names a reason for every failure of its own; without one the connection or a proxy broke the call.
        known["reason"] = TRANSPORT
        return errors.ServerUnavailable(f"the connection to {target} broke: {text}", **known)
    if code in (_Code.INTERNAL, _Code.UNKNOWN, _Code.DATA_LOSS):
        return errors.ServerError(f"{target} failed: {text}. The server's log has more.", **known)
    if code is _Code.UNIMPLEMENTED:
        return errors.InvalidRequest(f"{target} does not offer this call: {text}. Is the server older?", **known)
    return errors.InvalidRequest(f"{target} refused the call: {text}", **known)


def _unavailable(text: str, reason: str, place: Target) -> str:
    target = place.name
    if reason == "MODEL_LOADING":
        return f"{target} is still loading its model; wait_ready() waits for it."
    if reason == "DRAINING":
        return f"{target} is shutting down and takes no new work."
    if reason == "DEVICE_FAILED":
        return f"{target} lost its device and has to be restarted: {text}"
    proxy = place.proxy()
    if proxy:
        text += f". The variable {proxy} sends this connection through a proxy; no_proxy={place.host} would not"
    return (
        f"cannot reach an embedd server at {target}: {text}. Is it running, is the address right (EMBEDD_TARGET), "
        "and do both sides agree on TLS?"
    )


def _details(packed: Any) -> Tuple[str, Dict[str, str], Optional[float]]:
    """Reason, metadata and delay in seconds out of a serialised google.rpc.Status; empty when there is none."""
    reason, metadata, delay = "", {}, None
    try:
        status = rpc_status_pb2.Status.FromString(bytes(packed))
        for detail in status.details:
            name = detail.type_url.rpartition("/")[2]
            if name == "google.rpc.ErrorInfo":
                info = rpc_status_pb2.ErrorInfo.FromString(detail.value)
                reason, metadata = info.reason, dict(info.metadata)
            elif name == "google.rpc.RetryInfo":
                wait = rpc_status_pb2.RetryInfo.FromString(detail.value).retry_delay
                delay = wait.seconds + wait.nanos * 1e-9
    except (DecodeError, TypeError):
        pass  # a proxy's own format: the code and the text still count
    return reason, metadata, delay


def _pushback(value: Any) -> Optional[float]:
    """Seconds, as gRFC A6 reads the trailer: negative or unreadable means that the call must not be retried."""
    if value is None:
        return None
    try:
        return int(value) / 1000.0
    except ValueError:
        return -1.0
