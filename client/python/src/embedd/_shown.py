# SPDX-License-Identifier: Apache-2.0
"""What callers passed, as it is shown in messages: short and printable, whatever it was. Pure."""

from __future__ import annotations

import re

_LONGEST = 160
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*")

# JPEG, PNG, GIF, WebP, TIFF (both byte orders).
_BASE64_PICTURES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")


def text(value: str) -> str:
    """`value`, cut in the middle where it is long; what cannot be printed or encoded is escaped."""
    if len(value) > _LONGEST:
        value = f"{value[: _LONGEST // 2]}...{value[-_LONGEST // 4 :]} ({len(value)} characters)"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in value)


def path(value: str) -> str:
    """A path; of what is no path but content, its kind and its beginning."""
    kind = _kind(value)
    return f"{kind}, {text(value[:24])}... ({len(value)} characters)" if kind else text(value)


def error(failure: BaseException) -> str:
    """The reason in an exception. The system's own sentence where there is one: the rest repeats the path."""
    return text(getattr(failure, "strerror", None) or str(failure) or type(failure).__name__)


def advice(value: str) -> str:
    """What to pass instead of a string that is no path; "" when it may be one."""
    kind = _kind(value)
    if kind == "a data URI":
        return '. It looks like a data URI; pass base64.b64decode(text.partition(",")[2])'
    if kind == "base64 text":
        return ". It looks like base64 text; pass base64.b64decode(text)"
    if kind == "a URL":
        return ". It looks like a URL; fetch it and pass the bytes"
    if kind == "markup":
        return ". It looks like HTML or XML; pass the bytes of an image, or its path"
    return ""


def _kind(value: str) -> str:
    if value[:5].lower() == "data:":
        return "a data URI"
    if re.match(r"(?i)(https?|s3|gs)://", value):
        return "a URL"
    if value.lstrip()[:1] == "<" and ">" in value:
        return "markup"
    head = value[:4096]
    # A long path without a dot could look like base64 too: so it begins as pictures do, or has a part that no file
    # system takes.
    pictured = head.startswith(_BASE64_PICTURES)
    if len(head) > 100 and _BASE64.fullmatch(head) and (pictured or len(max(head.split("/"), key=len)) > 255):
        return "base64 text"
    return ""
