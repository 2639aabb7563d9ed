# SPDX-License-Identifier: Apache-2.0
"""One `embed_images` call, without input and output: what to send, what to make of the answers.

The conversations with the server are written as generators that yield what they need done (`Call`, `Sleep`) and get
the outcome sent back; the clients do it, one with threads (`_sync.py`), one with asyncio (`_async.py`). So both
follow the same rules, and the rules can be tested without a server.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, Generator, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from . import _inputs, _wire, errors
from ._options import DEFAULT_BATCH_SIZE, Limits, Options
from ._progress import Progress, log
from ._replicas import Answer, Call
from ._retry import Retry
from .result import CallTiming, EmbedResult
from .v1 import embedding_service_pb2 as pb

# Bytes of one call: large enough that what a call costs does not matter, small enough to keep several in memory.
TARGET_CALL_BYTES = 8 << 20
# Images that should be on their way at once, so that the server's decoders and device do not wait for the network.
# For each server.
TARGET_IMAGES_IN_FLIGHT = 256
MIN_CALLS_IN_FLIGHT = 4
MAX_CALLS_IN_FLIGHT = 8
# For all servers together: bounds memory and threads.
MAX_CALLS_IN_ALL = 64


class Sleep(NamedTuple):
    """Wanted: a pause, because of `error`; None: just to look again."""

    seconds: float
    error: Optional[errors.EmbedError] = None


class Part(NamedTuple):
    """Answer of one call: the rows of `indices`, in order, and what failed."""

    indices: List[int]
    rows: Optional[np.ndarray]
    errors: List[errors.InputRejected]
    timing: Optional[CallTiming]


Steps = Generator[Union[Call, Sleep], Any, Any]


def attempt_timeout(timeout: float, deadline: Optional[float]) -> float:
    """Seconds for the next attempt. Never 0, which gRPC reads as "already too late" without asking the server."""
    if deadline is None:
        return timeout
    return max(0.001, min(timeout, deadline - time.monotonic()))


def server_info_steps(timeout: float, retry: Retry) -> Steps:
    """Asks what the server is; gives a GetServerInfoResponse."""
    while True:
        retry.attempts += 1
        try:
            answer = yield Call("GetServerInfo", b"", attempt_timeout(timeout, retry.deadline))
            return answer.response
        except errors.EmbedError as error:
            step = retry.after(error, 1)
            if step.delay is None:
                raise _given_up(error, retry)
            yield Sleep(step.delay, error)


def wait_ready_steps(timeout: float) -> Steps:
    """Asks until the model serves; gives a GetServerInfoResponse."""
    end = time.monotonic() + timeout
    states = pb.GetServerInfoResponse
    while True:
        info = yield from server_info_steps(timeout, Retry(timeout, deadline=end))
        if info.state in (states.READY, states.OFFLOADED):
            return info
        if time.monotonic() + 0.2 >= end:
            name = states.State.Name(info.state)
            raise errors.ServerUnavailable(f"the server is not ready after {timeout:g} s: {name}", reason=name)
        yield Sleep(0.2)


class Job:
    """State of one call of `embed_images`. `load` and `send_steps` run in any thread; the rest in the caller's."""

    def __init__(self, source: _inputs.Source, options: Options, limits: Limits) -> None:
        self.options = options
        self.limits = limits
        self._kind = source.kind
        size = options.batch_size or DEFAULT_BATCH_SIZE
        self._call_bytes = min(TARGET_CALL_BYTES, limits.call_bytes - _wire.MESSAGE_OVERHEAD_BYTES)
        self.planner = _inputs.Planner(max(1, min(size, limits.inputs, limits.queue_images)), self._call_bytes)
        self.progress = Progress(options.show_progress_bar, source.total)
        self._lock = threading.Lock()
        self._fingerprint = options.expect_fingerprint
        self._fingerprint_from = ""  # the server that answered first
        self._rows = _Rows(source.total)
        self._errors: List[errors.InputRejected] = []
        self._timings: List[Tuple[int, CallTiming]] = []

    def calls_in_flight(self, first: List[_inputs.Item], servers: int) -> int:
        """How many calls to make at once, given that they are about as large as the first."""
        each = max(MIN_CALLS_IN_FLIGHT, min(MAX_CALLS_IN_FLIGHT, TARGET_IMAGES_IN_FLIGHT // max(1, len(first))))
        return min(each * servers, MAX_CALLS_IN_ALL)

    def load(
        self, items: List[_inputs.Item]
    ) -> Tuple[List[_inputs.Loaded], List[errors.InputRejected], List[_inputs.Item]]:
        """Reads and converts. Gives what is to be sent; what cannot be read, which it raises under on_error="raise"; and
        what is left of `items` for another call: files that became pixels take many times their bytes."""
        loaded: List[_inputs.Loaded] = []
        rejected: List[errors.InputRejected] = []
        size = 0
        for position, item in enumerate(items):
            try:
                one = _inputs.load(item, self.limits)
            except errors.InputRejected as error:
                if self.options.on_error == "raise":
                    raise
                rejected.append(error)
                continue
            size += one.size
            if loaded and size > self._call_bytes:
                return loaded, rejected, [item._replace(value=one.content), *items[position + 1 :]]
            loaded.append(one)
        return loaded, rejected, []

    def send_steps(self, loaded: List[_inputs.Loaded], retry: Optional[Retry] = None) -> Steps:
        """Has `loaded` embedded, whatever it takes; gives a list of parts."""
        options = self.options
        if not loaded:
            return []
        retry = retry or Retry(options.retry_for, options.deadline, bulk=not options.interactive)
        refusal: Optional[errors.EmbedError] = None
        while True:
            settings = _wire.batch_settings(options.dtype, options.normalize, options.priority, self._fingerprint)
            payload = _wire.request_bytes(settings, [one.content for one in loaded])
            timeout = attempt_timeout(options.timeout, options.deadline)
            # False only where a file grew since it was looked at.
            fits = len(payload) <= self.limits.message_bytes or len(loaded) == 1
            if fits:
                retry.attempts += 1
                began = time.monotonic()
                largest = max(one.content.file_bytes for one in loaded)
                try:
                    answer = yield Call("EmbedBatch", payload, timeout, len(loaded), largest)
                except errors.ModelMismatch as error:
                    raise name_both(error, self._fingerprint, self._fingerprint_from) from None
                except errors.EmbedError as error:
                    if isinstance(error, errors.DeadlineExceeded) and refusal and timeout < options.timeout / 2:
                        raise _given_up(refusal, retry)  # refusals took the time, not the last attempt
                    refusal = error
                    step = retry.after(error, len(loaded))
                    if not step.split:
                        if step.delay is None:
                            raise _given_up(error, retry)
                        del payload  # megabytes, for as long as an outage lasts
                        yield Sleep(step.delay, error)
                        continue
                else:
                    return [self._part(loaded, answer, retry.attempts, time.monotonic() - began)]
            middle = len(loaded) // 2
            # Later calls of this job start at the size that may work.
            self.planner.max_inputs = max(1, min(self.planner.max_inputs, middle))
            log.debug("a call of %d images was too much; cut in two", len(loaded))
            left = yield from self.send_steps(loaded[:middle], retry.half())
            right = yield from self.send_steps(loaded[middle:])
            return left + right

    def _part(self, loaded, answer: Answer, attempts: int, round_trip: float) -> Part:
        response: pb.EmbedBatchResponse = answer.response
        _wire.check_encoding(response, self.options.dtype)
        rows = _wire.rows(response.data, len(loaded), response.dimension, self.options.dtype)
        self._check_fingerprint(response.model_fingerprint, answer.target)
        failed = []
        for error in response.errors:
            if error.index >= len(loaded):
                raise errors.ServerError(f"the answer names input {error.index} of {len(loaded)}")
            index = loaded[error.index].index
            failed.append(self._kind.rejected(index, error))
        if failed and self.options.on_error == "raise":
            raise failed[0]
        return Part(
            [one.index for one in loaded], rows, failed, _timing(response.timing, len(loaded), attempts, round_trip)
        )

    def _check_fingerprint(self, actual: str, target: str) -> None:
        with self._lock:
            self._fingerprint = self._fingerprint or actual
            self._fingerprint_from = self._fingerprint_from or target
        check_same_model(self._fingerprint, actual, self._fingerprint_from, target)
        with self._lock:
            self._fingerprint = actual  # the tower's, where both were expected

    def merge(self, parts: List[Part]) -> None:
        """Takes in the answer of one call. Calls may come in any order."""
        for part in parts:
            if part.rows is not None:
                self._rows.put(part.indices, part.rows)
            for error in part.errors:
                self._errors.append(error)
            if part.timing is not None:
                self._timings.append((part.indices[0], part.timing))
            self.progress.advance(len(part.indices))

    def result(self, count: int) -> EmbedResult:
        """The result, of `count` images."""
        vectors = self._rows.finish(count, self.limits.dimension, self.options.dtype)
        self._errors.sort(key=lambda error: error.index)
        vectors[[error.index for error in self._errors]] = np.nan
        if self._errors:
            log.warning(
                "%d of %d %s failed; their rows are NaN. First: %s",
                len(self._errors),
                count,
                self._kind.word,
                self._errors[0],
            )
        self._timings.sort(key=lambda one: one[0])
        return EmbedResult(vectors, self._errors, self._fingerprint, [timing for _, timing in self._timings])

    def close(self) -> None:
        self.progress.close()


class Ahead:
    """The calls of a job that are under way, as futures. Answers are taken in any order and go straight to their rows;
    of several images that cannot be embedded the first one is raised."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._sent = 0
        self._pending: Dict[Any, int] = {}
        self._rejected: Optional[Tuple[int, errors.InputRejected]] = None

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._pending))

    def full(self, size: int) -> bool:
        """Whether one has to end before the next is sent."""
        return len(self._pending) >= size or self._rejected is not None

    def sent(self, future: Any) -> None:
        self._pending[future] = self._sent
        self._sent += 1

    def ended(self, future: Any) -> None:
        number = self._pending.pop(future)
        try:
            self._job.merge(future.result())
        except errors.InputRejected as error:
            if self._rejected is None or number < self._rejected[0]:
                self._rejected = (number, error)
        if self._rejected is not None and all(one > self._rejected[0] for one in self._pending.values()):
            raise self._rejected[1]


def check_same_model(expected: str, actual: str, first: str, target: str) -> None:
    """Raises ModelMismatch when vectors of the two models must not be mixed. `first` gave the first, `target` the
    other one. IMAGE+TEXT, which a model of both is named by, fits the answers of either tower."""
    if actual not in (expected, *expected.split("+")):
        said = f"{first} runs model {expected}, {target} runs model {actual}"
        if first in ("", target):
            said = f"{target} runs model {actual}, expected {expected}"
        raise errors.ModelMismatch(
            f"{said}: their vectors must not be mixed. "
            "Start again with the model of the earlier vectors, or embed everything anew.",
            expected=expected,
            actual=actual,
            reason="MODEL_MISMATCH",
        )


def name_both(error: errors.EmbedError, fingerprint: str, first: str) -> errors.EmbedError:
    """`error`; where a server refused because `first` gave vectors of another model, with both their names."""
    if not isinstance(error, errors.ModelMismatch) or first in ("", error._target) or not error.actual:
        return error
    try:
        check_same_model(fingerprint, error.actual, first, error._target)
    except errors.ModelMismatch as named:
        named.code = error.code
        return named
    return error


def unread(rejections: List[errors.InputRejected]) -> List[Part]:
    """The part of images that were never sent, if there are any."""
    return [Part([error.index for error in rejections], None, rejections, None)] if rejections else []


def _timing(timing: pb.Timing, images: int, attempts: int, round_trip: float) -> CallTiming:
    return CallTiming(
        images=images,
        attempts=attempts,
        round_trip=round_trip,
        decode=timing.decode_ns * 1e-9,
        queue=timing.queue_ns * 1e-9,
        execute=timing.execute_ns * 1e-9,
        server_total=timing.total_ns * 1e-9,
        largest_batch=timing.largest_batch,
        batches=timing.batches,
    )


def _given_up(error: errors.EmbedError, retry: Retry) -> errors.EmbedError:
    error.attempts = retry.attempts
    return error._add(f"(given up after {retry.attempts} attempts)") if retry.attempts > 1 else error


class _Rows:
    """The growing array [N, D]; allocated once where N is known beforehand."""

    def __init__(self, total: Optional[int]) -> None:
        self._total = total
        self._out: Optional[np.ndarray] = None

    def put(self, indices: List[int], rows: np.ndarray) -> None:
        need = indices[-1] + 1
        if self._out is None:
            self._out = self._empty(max(self._total or 0, need), rows)
        if rows.shape[1] != self._out.shape[1]:
            raise errors.ModelMismatch(f"vectors of {rows.shape[1]} numbers after vectors of {self._out.shape[1]}")
        if need > len(self._out):
            grown = self._empty(max(need, 2 * len(self._out)), rows)
            grown[: len(self._out)] = self._out
            self._out = grown
        if need - indices[0] == len(indices):
            self._out[indices[0] : need] = rows
        else:
            self._out[indices] = rows

    def finish(self, count: int, dimension: int, dtype: str) -> np.ndarray:
        if self._out is None:
            return np.zeros((count, dimension), dtype=dtype)
        return self._out if len(self._out) == count else self._out[:count].copy()

    @staticmethod
    def _empty(count: int, like: np.ndarray) -> np.ndarray:
        return np.zeros((count, like.shape[1]), dtype=like.dtype.newbyteorder("="))
