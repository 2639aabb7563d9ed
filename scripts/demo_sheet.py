# SPDX-License-Identifier: Apache-2.0
"""demo.png: rows of a picture or a text and the pictures nearest to it. Called by demo_run.py; Pillow alone."""

from __future__ import annotations

import pathlib
from typing import Optional

from PIL import Image, ImageDraw, ImageFont

_CELL, _GAP, _MARGIN, _TITLE, _LABEL = 168, 14, 36, 96, 46
_QUERY_GAP = 46  # Between the query and its neighbours.
_PAPER, _INK, _SOFT, _CARD, _ACCENT = "#ffffff", "#1d232b", "#6a7480", "#eceff2", "#2456c8"


# A query and what is nearest to it: (file, first line, second line) each. A query without a file is a text, its second line.
Row = list[tuple[Optional[pathlib.Path], str, str]]


def draw_sheet(path: pathlib.Path, title: str, subtitle: str, rows: list[Row]) -> None:
    """Writes the sheet."""
    columns = max(len(row) for row in rows)
    width = 2 * _MARGIN + columns * _CELL + (columns - 2) * _GAP + _QUERY_GAP
    height = _TITLE + len(rows) * (_CELL + _LABEL + _GAP) + _MARGIN - _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 26), title, fill=_INK, font=ImageFont.load_default(26))
    pen.text((_MARGIN, 62), subtitle, fill=_SOFT, font=ImageFont.load_default(15))
    for row_number, row in enumerate(rows):
        y = _TITLE + row_number * (_CELL + _LABEL + _GAP)
        for column, (file, first, second) in enumerate(row):
            x = _MARGIN + column * (_CELL + _GAP) + (_QUERY_GAP - _GAP if column else 0)
            if file is None:
                _words(pen, second, x, y)
            else:
                _card(sheet, file, x, y)
            if column == 0:
                pen.rectangle((x - 3, y - 3, x + _CELL + 2, y + _CELL + 2), outline=_ACCENT, width=3)
            _label(pen, x, y + _CELL + 5, first, _ACCENT if column == 0 else _INK, 14)
            _label(pen, x, y + _CELL + 23, second if file else "", _SOFT, 13)
    sheet.save(path)


def _card(sheet: Image.Image, file: pathlib.Path, x: int, y: int) -> None:
    """The picture, whole, in the middle of a grey square."""
    sheet.paste(_CARD, (x, y, x + _CELL, y + _CELL))
    with Image.open(file) as picture:
        picture = picture.convert("RGB")
    scale = _CELL / max(picture.size)
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
    sheet.paste(picture, (x + (_CELL - picture.width) // 2, y + (_CELL - picture.height) // 2))


def _words(pen: ImageDraw.ImageDraw, text: str, x: int, y: int) -> None:
    """A text in the place of a picture, a word a line."""
    pen.rectangle((x, y, x + _CELL, y + _CELL), fill=_CARD)
    lines = text.split()
    for number, line in enumerate(lines):
        pen.text((x + _CELL / 2, y + _CELL / 2 + (number - (len(lines) - 1) / 2) * 30), line, fill=_INK,
                 font=ImageFont.load_default(24), anchor="mm")


def _label(pen: ImageDraw.ImageDraw, x: int, y: int, text: str, colour: str, size: int) -> None:
    """One line, in smaller letters if it is too wide for a card."""
    while size > 8 and pen.textlength(text, font=ImageFont.load_default(size)) > _CELL:
        size -= 1
    pen.text((x, y), text, fill=colour, font=ImageFont.load_default(size))
