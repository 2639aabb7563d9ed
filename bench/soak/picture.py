# SPDX-License-Identifier: Apache-2.0
"""Memory over the batches of each way, drawn with Pillow: one PNG."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

_COLOURS = {"keeping": (200, 60, 50), "remedies": (220, 150, 30), "embedd": (30, 110, 190)}
_WORDS = {"keeping": "in-process loop that keeps references", "remedies": "in-process loop with the manual remedies",
          "embedd": "through embedd (the server's process)"}
_MIB = 1 << 20


def draw(rows: dict[str, list[dict]], title: str, path: str, budget: int = 0) -> None:
    """`rows`: the CSV lines of each way."""
    width, height, left, right, top, bottom = 1200, 640, 110, 30, 70, 130
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    try:
        font, large = ImageFont.load_default(size=18), ImageFont.load_default(size=24)
    except TypeError:  # Pillow before 10.1
        font = large = ImageFont.load_default()
    highest = max([row["footprint"] for way in rows.values() for row in way] + [budget]) / _MIB * 1.05
    last = max(way[-1]["batch"] for way in rows.values() if way) or 1

    def place(batch: float, mib: float) -> tuple[float, float]:
        return (left + batch / last * (width - left - right), height - bottom - mib / highest * (height - top - bottom))

    pen.text((left, 20), title, fill="black", font=large)
    step = next(s for s in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000) if highest / s <= 8)
    for mib in range(0, int(highest) + 1, step):
        y = place(0, mib)[1]
        pen.line((left, y, width - right, y), fill=(225, 225, 225))
        pen.text((left - 12, y), f"{mib:,} MiB", fill="black", font=font, anchor="rm")
    for fifth in range(6):
        batch = last * fifth / 5
        pen.text((place(batch, 0)[0], height - bottom + 12), f"{batch:,.0f}", fill="black", font=font, anchor="ma")
    pen.text(((left + width - right) / 2, height - bottom + 36), "batches", fill="black", font=font, anchor="ma")
    if budget:
        y = place(0, budget / _MIB)[1]
        for x in range(left, width - right, 16):
            pen.line((x, y, x + 8, y), fill=(120, 120, 120), width=2)
        pen.text((width - right, y - 4), "budget", fill=(90, 90, 90), font=font, anchor="rs")
    for number, (way, lines) in enumerate(rows.items()):
        colour = _COLOURS[way]
        points = [place(line["batch"], line["footprint"] / _MIB) for line in lines]
        if len(points) > 1:
            pen.line(points, fill=colour, width=3)
        if lines and lines[-1]["lost"]:
            x, y = points[-1]
            pen.line((x - 8, y - 8, x + 8, y + 8), fill=colour, width=4)
            pen.line((x - 8, y + 8, x + 8, y - 8), fill=colour, width=4)
        y = height - 62 + number * 20
        pen.line((left, y, left + 40, y), fill=colour, width=4)
        lost = int(lines[-1]["lost"]) if lines else 0
        pen.text((left + 52, y), f"{_WORDS[way]}: {lost:,} images lost", fill="black", font=font,
                 anchor="lm")
    image.save(path)
