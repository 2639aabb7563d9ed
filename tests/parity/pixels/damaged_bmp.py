# SPDX-License-Identifier: Apache-2.0
"""A BMP writer, and damaged BMP files of every layout. Used by make_damage.py and odd_bmp.py."""

import struct

import numpy as np

from make_corpus import picture, rgb, saved
from verdict import READ, REFUSE


def bmp(width, height, bits, rows, header=40, compression=0, palette=b"", masks=b"", offset=None, colors=0):
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 2835, 2835, colors, 0)
        if header > 40:
            info = (info + masks).ljust(header, b"\0")
            masks = b""
    start = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start if offset is None else offset) + info + masks + palette + rows


def bmp_rows(samples, bits):
    """[height, width] or [height, width, bytes] to rows of whole words, bottom first."""
    out = b""
    for row in samples[::-1]:
        if bits < 8:
            bit = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
            line = np.packbits(bit.reshape(-1).astype(np.uint8)).tobytes()
        else:
            line = row.tobytes()
        out += line + bytes(-len(line) % 4)
    return out


def damaged_bmps():
    w, h = 45, 31
    color = picture(w, h, 3)
    four = picture(w, h, 4, 4)
    random = np.random.default_rng(4)
    palette = random.integers(0, 256, (256, 4)).astype(np.uint8)
    files = {}
    for bits in (1, 4, 8):
        index = picture(w, h, 5, 1)[:, :, 0] >> (8 - bits)
        files[f"palette{bits}"] = bmp(w, h, bits, bmp_rows(index, bits), palette=palette[: 2**bits].tobytes())
        files[f"palette{bits}-os2"] = bmp(w, h, bits, bmp_rows(index, bits), header=12, palette=palette[: 2**bits, :3].tobytes())
        files[f"palette{bits}-down"] = bmp(w, -h, bits, bmp_rows(index, bits), palette=palette[: 2**bits].tobytes())
        files[f"palette{bits}-few"] = bmp(w, h, bits, bmp_rows(index, bits), palette=palette[: 2**bits - 1].tobytes(), colors=2**bits - 1)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    files["grey8"] = bmp(w, h, 8, bmp_rows(color[:, :, 0], 8), palette=grey.tobytes())
    files["mono"] = bmp(w, h, 1, bmp_rows(color[:, :, 0] >> 7, 1), palette=b"\0\0\0\0\xff\xff\xff\0")
    files["rgb24"] = bmp(w, h, 24, bmp_rows(color, 24))
    files["rgb24-down"] = bmp(w, -h, 24, bmp_rows(color, 24))
    files["rgb24-os2"] = bmp(w, h, 24, bmp_rows(color, 24), header=12)
    for header in (40, 52, 56, 64, 108, 124):
        files[f"rgb32-{header}"] = bmp(w, h, 32, bmp_rows(four, 32), header=header)
    wide = random.integers(0, 65536, (h, w)).astype("<u2")
    files["rgb555"] = bmp(w, h, 16, bmp_rows(wide, 16))
    files["rgb565"] = bmp(w, h, 16, bmp_rows(wide, 16), compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    files["rgb555-masks"] = bmp(w, h, 16, bmp_rows(wide, 16), compression=3, masks=struct.pack("<III", 0x7C00, 0x3E0, 0x1F))
    for i, masks in enumerate(((0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
                               (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF0000, 0xFF00, 0xFF), (0, 0, 0, 0))):
        files[f"masks-{i}"] = bmp(w, h, 32, bmp_rows(four, 32), header=108, compression=3, masks=struct.pack("<IIII", *masks))
    for name, data in files.items():
        yield f"{name}-whole.bmp", data, READ
        yield f"{name}-trailing.bmp", data + b"x" * 9, READ
        yield f"{name}-cut.bmp", data[:-60], REFUSE
        yield f"{name}-half.bmp", data[: len(data) - len(data) // 3], REFUSE
    yield "rgb24-no-offset.bmp", files["rgb24"][:10] + b"\0\0\0\0" + files["rgb24"][14:], READ
    yield "saved.bmp", saved(rgb(50, 40, 3), "BMP"), READ
    # Run lengths: runs, literal pixels, skips.
    run = b""
    for y in range(h):
        run += bytes([20, y, 25, 200]) + b"\0\0"
    files = {"runs": run + b"\0\1"}
    literal = b""
    for y in range(h):
        literal += bytes([0, 7]) + bytes(range(7)) + b"\0" + bytes([38, y]) + b"\0\0"
    files["literal"] = literal + b"\0\1"
    files["skips"] = bytes([10, 3, 0, 2, 5, 2]) + b"".join(bytes([45 - (15 if y == 0 else 0), 9]) + b"\0\0" for y in range(h - 2)) + b"\0\1"
    for name, rows in files.items():
        data = bmp(w, h, 8, rows, compression=1, palette=palette.tobytes())
        yield f"rle8-{name}.bmp", data, READ
        yield f"rle8-{name}-cut.bmp", data[:-40], REFUSE
        yield f"rle8-{name}-ends-early.bmp", data[:-40 - (len(data) - 40) % 2] + b"\0\1", REFUSE
    data = bmp(w, h, 4, run + b"\0\1", compression=2, palette=palette[:16].tobytes())
    yield "rle4-runs.bmp", data, READ
