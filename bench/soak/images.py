# SPDX-License-Identifier: Apache-2.0
"""Mixed image files, drawn from a seed: photos of a phone, thumbnails, screenshots. Made once, then reused."""

from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image

# (share, format, size, options)
_SOURCES = [
    (0.40, "jpg", (500, 375), {"quality": 88}),
    (0.15, "jpg", (1600, 1200), {"quality": 80}),
    (0.15, "jpg", (224, 224), {"quality": 75}),
    (0.15, "png", (320, 240), {}),
    (0.10, "webp", (512, 512), {"quality": 80}),
    (0.05, "png", (96, 400), {}),
]


def make(folder: pathlib.Path, count: int, seed: int = 7) -> list[pathlib.Path]:
    """`count` files in `folder`; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    shares = np.array([source[0] for source in _SOURCES])
    files = []
    for number in range(count):
        _, kind, (width, height), options = _SOURCES[random.choice(len(_SOURCES), p=shares / shares.sum())]
        seeds = random.integers(0, 2**31)
        file = folder / f"{number:05}.{kind}"
        files.append(file)
        if file.exists():
            continue
        own = np.random.default_rng(seeds)
        coarse = own.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = own.integers(-12, 13, (height, width, 3))
        part = file.with_name("part-" + file.name)  # a run that is cut off leaves no half file
        Image.fromarray(np.clip(np.asarray(picture, np.int16) + noise, 0, 255).astype(np.uint8)).save(part, **options)
        part.rename(file)
    return files
