# SPDX-License-Identifier: Apache-2.0
"""Damaged GIF files, and frames that do not cover their screen. Used by make_damage.py."""

import struct

import numpy as np
from PIL import Image

from make_corpus import picture, rgb, saved
from verdict import READ, REFUSE


def damaged_gifs():
    big = rgb(90, 61, 3)
    kinds = {
        f"{colors}{'-interlaced' if interlace else ''}": saved(big.quantize(colors), "GIF", interlace=interlace)
        for colors in (2, 4, 16, 200, 256)
        for interlace in (0, 1)
    }
    kinds["grey"] = saved(big.convert("L"), "GIF")
    kinds["grey-few"] = saved(Image.fromarray((picture(60, 40, 2)[:, :, 0] >> 6)), "GIF")
    kinds["key"] = saved(big.quantize(32), "GIF", transparency=3)
    kinds["animated"] = saved(big.quantize(64), "GIF", save_all=True, append_images=[rgb(90, 61, 4).quantize(64)])
    kinds["noise"] = saved(Image.fromarray(np.random.default_rng(3).integers(0, 256, (120, 150)).astype(np.uint8)), "GIF")
    for name, data in kinds.items():
        yield f"{name}-whole.gif", data, READ
        at = data.find(b"\x2c")
        yield f"{name}-no-end.gif", data[:-1], READ
        yield f"{name}-trailing.gif", data + b"x" * 40, READ
        if name == "animated":
            second = data.find(b"\x21\xf9", data.find(b"\x2c"))
            yield f"{name}-first-only.gif", data[: second + 20], READ
            continue
        for part in (0.3, 0.7):
            cut = data[: at + 10 + int((len(data) - at) * part)]
            yield f"{name}-cut-{part}.gif", cut, REFUSE
            yield f"{name}-cut-{part}-with-end.gif", cut + b"\0;", REFUSE
    # A frame that does not cover its screen, with and without a transparent colour; one that reaches beyond it.
    data = bytearray(saved(rgb(40, 30, 5).quantize(16), "GIF"))
    for name, screen in (("inside", (60, 50)), ("beyond", (20, 50)), ("none", (0, 0))):
        changed = bytearray(data)
        changed[6:10] = struct.pack("<HH", *screen)
        yield f"screen-{name}.gif", bytes(changed), READ
        at = changed.find(b"\x2c")
        changed[at + 1 : at + 5] = struct.pack("<HH", 7, 5)
        yield f"screen-{name}-moved.gif", bytes(changed), READ
        control = b"\x21\xf9\x04\x01\x00\x00\x05\x00"
        yield f"screen-{name}-key.gif", bytes(changed[:at] + control + changed[at:]), READ
