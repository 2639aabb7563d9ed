# SPDX-License-Identifier: Apache-2.0
"""What people hold (paths, files, bytes, PIL images, arrays, texts) to what the wire carries. Shared by both clients.

Two steps: `open_source` and `Source` look at the objects, cheaply, in the caller's thread; `load` reads files and
converts pixels, in a worker thread. Files travel untouched and pixels raw: nothing is ever encoded anew, so the server
sees exactly what the caller has. Files of a format that the server does not read become pixels (`_formats.py`).
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Optional, Type, Union

import numpy as np

from . import _formats, _shown, errors
from ._options import Limits
from ._wire import INPUT_OVERHEAD_BYTES, MESSAGE_OVERHEAD_BYTES, Content, encoded_content, raw_content, text_content
from .v1 import embedding_service_pb2 as pb

_ACCEPTED = (
    "a path (str or Path), the bytes of an image file, a file opened with open(path, 'rb'), a BytesIO, a PIL image, or "
    "a uint8 array [height, width, 3]"
)
# protobuf's own limit: what is longer cannot be sent by any server's leave.
_MAX_FILE_OBJECT_BYTES = 2 << 30

# One PIL image may be in a list twice, and its pixels load on first use, which two threads must not do at once.
_pil_locks = [threading.Lock() for _ in range(64)]


def _renew_locks() -> None:
    # A lock held by another thread while the process forks would stay locked in the child for ever.
    for position in range(len(_pil_locks)):
        _pil_locks[position] = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class Kind(NamedTuple):
    """What is embedded: images or texts."""

    word: str  # of messages, and of the argument
    error: Type[errors.InputRejected]

    def rejected(self, index: int, error: pb.InputError) -> errors.InputRejected:
        """The typed form of an error of one input."""
        text = f"{self.word}[{index}] cannot be embedded: {error.message or error.reason}"
        return self.error(text, index=index, reason=error.reason)


IMAGES = Kind("images", errors.ImageRejected)
TEXTS = Kind("texts", errors.TextRejected)


class Item(NamedTuple):
    """One input, looked at but not yet read. `value` is a path, a buffer, a `Content` or a PIL image; `size` is what
    it will take in the message, in bytes, as far as that can be told without reading it."""

    index: int
    value: Any
    size: int
    source: str


class Loaded(NamedTuple):
    """One input, ready to be sent."""

    index: int
    content: Content

    @property
    def size(self) -> int:
        """As that of its item, where it could be told."""
        return len(self.content.body) + INPUT_OVERHEAD_BYTES


class Source:
    """Turns what the caller passed into items, one at a time.

    Attributes:
      kind: images or texts.
      total: how many there will be; None when that is not known.
      single: whether one input was passed, not several.
    """

    def __init__(self, inputs: Any, kind: Kind = IMAGES) -> None:
        self.kind = kind
        self.single = isinstance(inputs, str) if kind is TEXTS else _is_image(inputs)
        self.inputs = [inputs] if self.single else inputs
        # Objects out of a list stay as they are while the call runs. A generator may close or overwrite what it gave
        # away as soon as it is asked for the next one, so what it gives is copied before that.
        self._stable = isinstance(self.inputs, (list, tuple, np.ndarray))
        self.total: Optional[int] = len(self.inputs) if _has(self.inputs, "__len__") else None
        self._count = 0

    def item(self, value: Any) -> Item:
        """The next item, made of `value`. Raises TypeError or ValueError for what cannot be one."""
        index = self._count
        self._count += 1
        return _text_item(index, value) if self.kind is TEXTS else _item(index, value, self._stable)

    def __iter__(self) -> Iterator[Item]:
        for value in self.inputs:
            yield self.item(value)


def open_source(inputs: Any, kind: Kind = IMAGES) -> Source:
    """Raises TypeError when `inputs` is neither an input nor something to iterate over."""
    source = Source(inputs, kind)
    iterable = any(_has(source.inputs, one) for one in ("__iter__", "__aiter__"))
    if not iterable or (kind is TEXTS and isinstance(inputs, bytes)):
        accepted = "a string" if kind is TEXTS else _ACCEPTED
        raise TypeError(f"cannot embed {_type_name(inputs)}; pass {accepted}, or a list or iterator of those")
    if isinstance(inputs, dict):
        raise TypeError("cannot embed a dict; pass its values(), and keep the keys for the rows")
    return source


def load(item: Item, limits: Limits) -> Loaded:
    """Reads and converts `item`. Raises ImageRejected when it cannot be read or is larger than the server takes."""
    value = item.value
    if isinstance(value, _Unreadable):
        raise value.error
    if isinstance(value, Content):
        content = value
    elif isinstance(value, (str, bytes, memoryview)):
        content = _from_file(item, limits)
    else:
        content = _from_pil(item)
    if len(content.body) == 0 and not content.is_text:
        raise _reject(item, "EMPTY_IMAGE", "it holds no bytes")
    if content.size + INPUT_OVERHEAD_BYTES > limits.message_bytes - MESSAGE_OVERHEAD_BYTES:
        raise _too_large(item, content.size, limits.message_bytes - MESSAGE_OVERHEAD_BYTES)
    return Loaded(item.index, content)


def _text_item(index: int, value: Any) -> Item:
    if not isinstance(value, str):
        raise TypeError(f"cannot embed texts[{index}], {_type_name(value)}; pass strings")
    source = _shown.text(value[:200])
    try:
        content: Any = text_content(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        why = f"texts[{index}] cannot be embedded: it is no Unicode text, {_shown.text(error.reason)}"
        content = _Unreadable(errors.TextRejected(why, index=index, source=source, reason="INVALID_TEXT"))
        return Item(index, content, INPUT_OVERHEAD_BYTES, source)
    return Item(index, content, content.size + INPUT_OVERHEAD_BYTES, source)


def _item(index: int, value: Any, stable: bool) -> Item:
    if isinstance(value, (bytes, bytearray, memoryview)):
        view: Union[bytes, memoryview] = value if isinstance(value, bytes) else _bytes_of(memoryview(value))
        if not stable and not isinstance(view, bytes):
            view = bytes(view)
        return Item(index, view, len(view) + INPUT_OVERHEAD_BYTES, _type_name(value))
    if isinstance(value, (str, os.PathLike)):
        path = os.fsdecode(os.fspath(value))
        try:
            size = os.stat(path).st_size
        except (OSError, ValueError):  # ValueError: a path that no file system takes
            size = 0  # `load` finds out why, and says so
        return Item(index, path, size + INPUT_OVERHEAD_BYTES, _shown.path(path))
    if _is_file(value):
        item = Item(index, value, 0, _type_name(value))
        content = _or_unreadable(_read_object, item)
        return item._replace(value=content, size=INPUT_OVERHEAD_BYTES + (len(content) if content else 0))
    if isinstance(value, np.ndarray):
        content = _from_array(index, value, stable)
        return Item(index, content, content.size + INPUT_OVERHEAD_BYTES, f"array {list(value.shape)}")
    if _is_pil(value):
        width, height = value.size
        item = Item(index, value, 3 * width * height + INPUT_OVERHEAD_BYTES, _type_name(value))
        return item if stable else item._replace(value=_or_unreadable(_from_pil, item))
    raise TypeError(f"cannot embed images[{index}], {_type_name(value)}; pass {_ACCEPTED}")


def _bytes_of(view: memoryview) -> Union[bytes, memoryview]:
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _or_unreadable(read: Callable[[Item], Any], item: Item) -> Any:
    try:
        return read(item)
    except errors.ImageRejected as error:
        return _Unreadable(error)


class _Unreadable:
    """Stands for what could not be read when it was looked at; `load` raises its error where it is expected."""

    def __init__(self, error: errors.InputRejected) -> None:
        self.error = error

    def __len__(self) -> int:
        return 0


def _read_object(item: Item) -> bytes:
    """The content of an open file, from its start, as Pillow's `Image.open` reads it. Read at once: the caller may
    close it, and one file may be in a list twice."""
    file = item.value
    try:
        if getattr(file, "seekable", lambda: False)():
            file.seek(0)
        content = file.read(_MAX_FILE_OBJECT_BYTES)
    except Exception as error:  # anything may stand behind an object with read()
        raise _reject(item, "UNREADABLE", _shown.error(error)) from None
    if isinstance(content, (bytes, bytearray)):
        return bytes(content)
    if isinstance(content, str):
        raise TypeError(f"images[{item.index}] is a file opened as text; open it with open(path, 'rb')")
    if hasattr(content, "close"):  # a coroutine, which would warn that nobody awaited it
        content.close()
    raise TypeError(f"images[{item.index}], {item.source}: its read() gives {_type_name(content)}; pass bytes")


def _from_file(item: Item, limits: Limits) -> Content:
    value = _read(item, limits.image_bytes) if isinstance(item.value, str) else item.value
    if len(value) > limits.image_bytes:
        raise _too_large(item, len(value), limits.image_bytes)
    try:
        pixels = _formats.decode_if_needed(value, limits.formats, limits.pixels)
    except _formats.Unreadable as error:
        raise _reject(item, "UNREADABLE", str(error)) from None
    return encoded_content(value) if pixels is None else raw_content(*pixels)


def _read(item: Item, max_image_bytes: int) -> bytes:
    try:
        with open(item.value, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):
                if found.st_size > max_image_bytes:
                    raise _too_large(item, found.st_size, max_image_bytes)
                return file.readall()
            # A pipe does not tell its size. Never more than the limit and one byte: enough to see that it is too large.
            return io.BufferedReader(file).read(max_image_bytes + 1)
    except (OSError, ValueError) as error:
        # Without the cause: its text holds the whole path.
        raise _reject(item, "UNREADABLE", _shown.error(error) + _shown.advice(item.value)) from None


def _from_pil(item: Item) -> Content:
    image = item.value
    try:
        with _pil_locks[(id(image) >> 4) % len(_pil_locks)]:
            if image.mode != "RGB":
                image = image.convert("RGB")
            pixels = image.tobytes()
    except Exception as error:  # Pillow's readers raise nearly everything for a broken file
        raise _reject(item, "UNREADABLE", f"Pillow cannot read it: {_shown.error(error)}") from None
    width, height = image.size
    return raw_content(width, height, pixels)


def _from_array(index: int, array: np.ndarray, stable: bool) -> Content:
    shape = list(array.shape)
    if array.dtype != np.uint8:
        raise TypeError(
            f"images[{index}] is an array of {array.dtype}; pass uint8 pixels 0..255, not normalised: "
            "the server resizes and normalises as its model needs"
        )
    if array.ndim == 2:  # grey, as Pillow turns "L" into "RGB"
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    elif array.ndim != 3 or array.shape[2] != 3:
        hint = "; use array.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] == 3 else ""
        hint = "; drop alpha with array[:, :, :3]" if array.ndim == 3 and array.shape[2] == 4 else hint
        raise ValueError(f"images[{index}] has shape {shape}; pass [height, width, 3], R, G, B{hint}")
    height, width = array.shape[:2]
    if height == 0 or width == 0:
        raise ValueError(f"images[{index}] has shape {shape}: no pixels")
    body = array.tobytes() if not stable else memoryview(np.ascontiguousarray(array)).cast("B")
    return raw_content(width, height, body)


def _has(value: Any, method: str) -> bool:
    # A class, and an array without axes, have __len__ and __iter__, and neither a length nor items.
    return hasattr(value, method) and not isinstance(value, type) and getattr(value, "shape", None) != ()


def _is_image(value: Any) -> bool:
    if isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim in (2, 3) and value.dtype != object
    return _is_pil(value) or _is_file(value)


def _is_file(value: Any) -> bool:
    return callable(getattr(value, "read", None)) and not isinstance(value, type)


def _is_pil(value: Any) -> bool:
    # Pillow is optional. Where nobody imported it, nobody can hold one of its images.
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _reject(item: Item, reason: str, why: str) -> errors.ImageRejected:
    return errors.ImageRejected(
        f"images[{item.index}] ({item.source}) cannot be embedded: {why}",
        index=item.index,
        source=item.source,
        reason=reason,
    )


def _too_large(item: Item, size: int, limit: int) -> errors.InputRejected:
    if isinstance(item.value, Content) and item.value.is_text:
        why = f"texts[{item.index}] cannot be embedded: it takes {size} bytes, the server takes {limit}"
        return errors.TextRejected(why, index=item.index, source=item.source, reason="TEXT_TOO_LARGE")
    return _reject(
        item,
        "IMAGE_TOO_LARGE",
        f"it takes at least {size} bytes, the server takes {limit}; shrink it or raise the server's --max-image-bytes "
        "and --max-message-bytes",
    )


class Planner:
    """Cuts a row of items into calls: at most `max_inputs` items and, unless one item alone is larger, `max_bytes`.

    Feed items with `add`, which gives back a full call now and then, and end with `rest`.
    """

    def __init__(self, max_inputs: int, max_bytes: int) -> None:
        self.max_inputs = max_inputs
        self._max_bytes = max_bytes
        self._items: List[Item] = []
        self._bytes = 0

    def add(self, item: Item) -> Optional[List[Item]]:
        full = None
        if self._items and (len(self._items) >= self.max_inputs or self._bytes + item.size > self._max_bytes):
            full = self.rest()
        self._items.append(item)
        self._bytes += item.size
        return full

    def rest(self) -> List[Item]:
        items, self._items, self._bytes = self._items, [], 0
        return items

    def cut(self, items: Iterable[Item]) -> Iterator[List[Item]]:
        """All calls of `items`, one at a time."""
        for item in items:
            full = self.add(item)
            if full:
                yield full
        last = self.rest()
        if last:
            yield last
