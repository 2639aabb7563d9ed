# SPDX-License-Identifier: Apache-2.0
"""Image files of formats that the server does not read: decoded here, where Pillow is installed, and sent as pixels.

`GetServerInfoResponse.accepted_formats` says what the server reads. Those files travel untouched, and so does what
nobody here can read: the server's own error names what it is.
"""

from __future__ import annotations

import io
import threading
from typing import Any, FrozenSet, Optional, Tuple

from . import _shown
from ._progress import log

Pixels = Tuple[int, int, bytes]

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"8BPS", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"DDS ", "dds"),
    (b"qoif", "qoi"),
)
_BRANDS = {b"avif": "avif", b"avis": "avif"}
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"))
_ALIASES = {"jpg": "jpeg", "tif": "tiff", "heif": "heic"}

_told_lock = threading.Lock()
_told: "set[Tuple[str, bool]]" = set()


class Unreadable(Exception):
    """Pillow knows the format and cannot read this file."""


def names(accepted: Any) -> FrozenSet[str]:
    """The server's list of formats in the words of this module."""
    return frozenset(_ALIASES.get(one.lower(), one.lower()) for one in accepted)


def kind(data: Any) -> str:
    """The format of a file, from its first bytes; "" when it is none that is known here."""
    head = bytes(data[:32])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, 32, 4))}
        if brands & _BRANDS.keys():
            return "avif"
        return "heic" if brands & _HEIF_BRANDS else ""
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), "")


def decode_if_needed(data: Any, accepted: FrozenSet[str], max_pixels: int) -> Optional[Pixels]:
    """Width, height and RGB of a file that the server does not read; None: send it as it is.

    Args:
      accepted: `names` of what the server reads; empty when it does not say.
      max_pixels: refused before a pixel is decoded.
    Raises Unreadable.
    """
    found = kind(data)
    if not found or not accepted or found in accepted:
        return None
    try:
        from PIL import Image
    except ImportError:
        readers = ()
    else:
        readers = _readers(Image, found)
    if not readers:
        _tell(found, False)
        return None
    try:
        with Image.open(io.BytesIO(data), formats=readers) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise Unreadable(f"it has {width} x {height} pixels, the server takes {max_pixels} (--max-pixels)")
            pixels = image.convert("RGB").tobytes()
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly everything for a broken file
        raise Unreadable(f"Pillow cannot read it: {_shown.error(error)}") from None
    _tell(found, True)
    return width, height, pixels


def _readers(image_module: Any, found: str) -> Tuple[str, ...]:
    """Pillow's names of its readers of this format. Only those: others, such as PostScript's, run programs."""
    image_module.init()
    wanted = {"heic": ("HEIF",), "avif": ("AVIF", "HEIF")}.get(found, (found.upper(),))
    return tuple(name for name in wanted if name in image_module.OPEN)


def _tell(found: str, decoded: bool) -> None:
    with _told_lock:
        if (found, decoded) in _told:
            return
        _told.add((found, decoded))
    if decoded:
        log.warning("the server does not read %s files: they are decoded here and sent as pixels", found.upper())
    else:
        log.warning(
            "the server does not read %s files, and Pillow cannot here: pip install Pillow (HEIC: pillow-heif), or "
            "start the server with --formats +%s",
            found.upper(),
            found,
        )
