# SPDX-License-Identifier: Apache-2.0
"""Writes a small seed corpus for decode_fuzzer: python decode_seeds.py FOLDER."""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "parity" / "pixels"))
from make_corpus import picture, png, rgb  # noqa: E402


def main(folder):
    seeds = []
    color, four = rgb(24, 17, 1), picture(19, 13, 2, 4)

    def save(image, kind, **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        seeds.append(buffer.getvalue())

    for options in ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}):
        save(color, "JPEG", quality=60, **options)
    save(color.convert("L"), "JPEG")
    save(Image.fromarray(four, "CMYK"), "JPEG")
    save(color, "PNG")
    save(color.quantize(7), "PNG", transparency=1)
    save(color, "PNG", save_all=True, append_images=[rgb(24, 17, 2)])
    for interlace in (False, True):
        seeds.append(png(four.astype(np.uint16) * 257, 6, 16, interlace))
        seeds.append(png(four[:, :, :1] >> 6, 0, 2, interlace))
    for options in ({}, {"lossless": True}):
        save(color, "WEBP", **options)
        save(Image.fromarray(four, "RGBA"), "WEBP", **options)
        save(color, "WEBP", save_all=True, append_images=[rgb(24, 17, 2)], **options)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds):
        (Path(folder) / f"seed-{i:02d}").write_bytes(seed + bytes([i]))
    print(len(seeds), "seeds")


if __name__ == "__main__":
    main(sys.argv[1])
