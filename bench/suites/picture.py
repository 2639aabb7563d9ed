# SPDX-License-Identifier: Apache-2.0
"""The server beside its peers as bars, drawn with Pillow: one PNG."""

from __future__ import annotations

import pathlib

from PIL import Image, ImageDraw, ImageFont

from .common import Figure

_PANELS = [("vit_rate", "ViT-B/32, JPEG: images/s", "more is better"),
           ("overload", "64 callers, 2 s deadline: goodput / own maximum", "more is better"),
           ("tiny_jpeg_cpu", "JPEG 500x375: CPU s per 1,000 images", "less is better"),
           ("tiny_12mp_cpu", "JPEG 12 MP: CPU s per 1,000 images", "less is better"),
           ("tiny_raw_cpu", "raw 224x224: CPU s per 1,000 images", "less is better"),
           ("vit_memory", "ViT-B/32: memory of all processes, MiB", "less is better")]
_WIDTH, _BAR, _NAME, _VALUE = 640, 26, 150, 70
_OURS, _OTHERS = (30, 110, 190), (176, 176, 176)


def draw(peers: dict[str, Figure], names: tuple[str, ...], path: pathlib.Path) -> None:
    """`peers`: "COLUMN/CONTENDER" to figure, as bench/suites/peers.py makes them. A line shows lowest to highest."""
    height = 64 + len(names) * _BAR
    image = Image.new("RGB", (2 * _WIDTH, 3 * height), "white")
    pen = ImageDraw.Draw(image)
    try:
        font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    except TypeError:  # Pillow before 10.1
        font = small = ImageFont.load_default()
    for number, (column, title, better) in enumerate(_PANELS):
        x, y = number % 2 * _WIDTH, number // 2 * height
        pen.text((x + 16, y + 12), title, fill="black", font=font)
        pen.text((x + _WIDTH - 16, y + 14), better, fill=(120, 120, 120), font=small, anchor="ra")
        shown = {name: peers[f"{column}/{name}"] for name in names if f"{column}/{name}" in peers}
        highest = max((figure.high for figure in shown.values()), default=1) or 1
        scale = (_WIDTH - _NAME - _VALUE - 16) / highest
        for row, name in enumerate(names):
            top = y + 44 + row * _BAR
            pen.text((x + _NAME - 8, top + _BAR / 2), name, fill="black", font=font, anchor="rm")
            figure = shown.get(name)
            if not figure:
                pen.text((x + _NAME + 4, top + _BAR / 2), "not measured", fill=(120, 120, 120), font=small, anchor="lm")
                continue
            end, low, high = (x + _NAME + scale * value for value in (figure.median, figure.low, figure.high))
            pen.rectangle((x + _NAME, top + 4, end, top + _BAR - 4), fill=_OURS if name == "embedd" else _OTHERS)
            pen.line((low, top + _BAR / 2, high, top + _BAR / 2), fill="black", width=2)
            text = f"{figure.median:.2f}" if figure.median < 10 else f"{figure.median:,.0f}"
            pen.text((max(end, high) + 6, top + _BAR / 2), text, fill="black", font=font, anchor="lm")
    image.quantize(32).save(path, optimize=True)
