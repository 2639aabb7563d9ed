# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as types.

Every error of this package is an `EmbedError`; its text says what to do. All of them can be pickled, so they cross
process boundaries whole. `_status.py` makes them from gRPC statuses.
"""

from __future__ import annotations

from typing import Any, Optional

CLOSED = "this client is closed; make a new one"


def _rebuild(cls: type, args: tuple, state: dict) -> "EmbedError":
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class EmbedError(Exception):
    """Base of all errors of this package.

    Attributes:
      code: the `grpc.StatusCode` of the server's answer; None when the error arose in the client.
      reason: stable word for programs, such as "QUEUE_FULL"; "" when the server gave none.
      attempts: how many times the call was made; 0 when it never left the client.
    """

    def __init__(self, message: str, *, code: Any = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.attempts = 0
        self._pushback: Optional[float] = None  # seconds the server asked to wait; negative: do not retry
        self._late_by: Optional[float] = None  # seconds by which the server would have been too late
        self._target = ""  # where the call went
        self._elsewhere: Optional[float] = None  # seconds until another server may be asked

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0]) if self.args else ""

    def _add(self, text: str) -> "EmbedError":
        self.args = (f"{self.message} {text}",)
        return self

    def __reduce__(self):
        return (_rebuild, (type(self), self.args, self.__dict__))


class Overloaded(EmbedError):
    """The server's queue is full (RESOURCE_EXHAUSTED), and stayed full for as long as the client was to retry.

    Attributes:
      retry_after: seconds to wait before the next try, as the server computed them; None when it gave none.
    """

    def __init__(self, message: str, *, retry_after: Optional[float] = None, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.retry_after = retry_after


class InputRejected(EmbedError):
    """One image or text cannot be embedded; its neighbours can.

    Attributes:
      index: position in what was passed in, from 0.
      source: the path, or the type of the object.
    """

    def __init__(self, message: str, *, index: int, source: str = "", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.index = index
        self.source = source


class ImageRejected(InputRejected):
    """One image cannot be embedded; its neighbours can.

    `reason`: UNSUPPORTED_FORMAT, CORRUPT_IMAGE, IMAGE_TOO_LARGE, DEVICE_MEMORY, ... from the server; UNREADABLE when
    the file or the PIL image could not be read here, EMPTY_IMAGE when it holds nothing.
    """


class TextRejected(InputRejected):
    """One text cannot be embedded; its neighbours can.

    `reason`: TEXT_NOT_SUPPORTED, DEVICE_MEMORY, ... from the server; INVALID_TEXT when it cannot be written as UTF-8.
    """


class DeadlineExceeded(EmbedError):
    """The answer did not come, or could not come, within `timeout`."""


class ServerUnavailable(EmbedError):
    """Nobody answers at the address, or the server cannot work: `reason` is MODEL_LOADING, DRAINING, DEVICE_FAILED,
    TRANSPORT (the connection broke) or ""."""


class ModelMismatch(EmbedError):
    """The server runs another model than the one expected: its vectors must not be mixed with the earlier ones.

    Attributes:
      expected: the fingerprint asked for, or the one that the job began with.
      actual: the fingerprint of the server; "" when it is not known.
    """

    def __init__(self, message: str, *, expected: str = "", actual: str = "", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.expected = expected
        self.actual = actual


class Unauthenticated(EmbedError):
    """The server wants a token or a client certificate, and got none or a wrong one."""


class InvalidRequest(EmbedError):
    """The server refuses the call as it is; trying again does not help. The text names the field or the limit."""


class ServerError(EmbedError):
    """The server failed in a way that is its own fault (INTERNAL): see its log."""
