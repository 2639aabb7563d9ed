# SPDX-License-Identifier: Apache-2.0
"""Odd BMP files: every version of the header with every depth, masks, palettes and offsets that contradict themselves, run lengths
of every kind. Used by make_odd.py."""

import struct

import numpy as np

from damaged_bmp import bmp, bmp_rows
from make_corpus import picture
from verdict import AS_PILLOW, READ, REFUSE


def odd_bmps():
    rng = np.random.default_rng(6)
    w, h = 41, 23
    color, four = picture(w, h, 3), picture(w, h, 4, 4)
    colors = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    for header in (40, 52, 56, 64, 108, 124):
        for bits in (1, 4, 8):
            for width in (1, 7, 8, 31, 33, 41):
                index = rng.integers(0, 2**bits, (h, width)).astype(np.uint8)
                yield f"v{header}-{bits}-{width}.bmp", bmp(width, h, bits, bmp_rows(index, bits), header=header, palette=colors[: 2**bits].tobytes()), READ
            few = bmp(w, -h, bits, bmp_rows(rng.integers(0, 2**bits, (h, w)).astype(np.uint8), bits), header=header, palette=colors[:2].tobytes(), colors=2)
            yield f"v{header}-{bits}-few-down.bmp", few, READ
        for down in (1, -1):
            yield f"v{header}-24-{down}.bmp", bmp(w, down * h, 24, bmp_rows(color, 24), header=header), READ
            yield f"v{header}-32-{down}.bmp", bmp(w, down * h, 32, bmp_rows(four, 32), header=header), READ
            yield f"v{header}-16-{down}.bmp", bmp(w, down * h, 16, bmp_rows(rng.integers(0, 65536, (h, w)).astype("<u2"), 16), header=header), READ
    known = [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
             (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0),
             (0xFF, 0xFF00, 0xFF0000, 0), (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000), (0xF800, 0x7E0, 0x1F, 0)]
    for header in (40, 52, 56, 108, 124):
        for i, masks in enumerate(known):
            yield f"v{header}-masks32-{i}.bmp", bmp(w, h, 32, bmp_rows(four, 32), header=header, compression=3, masks=struct.pack("<IIII", *masks)[: 12 if header == 40 else 16]), AS_PILLOW
        wide = bmp_rows(rng.integers(0, 65536, (h, w)).astype("<u2"), 16)
        for i, masks in enumerate(((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF), (0x1F, 0x7E0, 0xF800))):
            yield f"v{header}-masks16-{i}.bmp", bmp(w, h, 16, wide, header=header, compression=3, masks=struct.pack("<III", *masks)), AS_PILLOW
        yield f"v{header}-masks24.bmp", bmp(w, h, 24, bmp_rows(color, 24), header=header, compression=3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)), AS_PILLOW
        yield f"v{header}-alpha-fields.bmp", bmp(w, h, 32, bmp_rows(four, 32), header=header, compression=6, masks=struct.pack("<IIII", *known[5])), AS_PILLOW
    for bits in (2, 3, 5, 12, 48, 64):
        yield f"bits-{bits}.bmp", bmp(w, h, bits, bytes(((w * bits + 31) // 32 * 4) * h), palette=colors[:4].tobytes()), AS_PILLOW
    for compression in (4, 5, 7, 11):
        yield f"compression-{compression}.bmp", bmp(w, h, 24, bmp_rows(color, 24), compression=compression), AS_PILLOW
    index = rng.integers(0, 256, (h, w)).astype(np.uint8)
    for count in (1, 3, 255, 256, 300, 70000):
        padded = colors.tobytes().ljust(4 * count, b"\x11")[: 4 * count]
        yield f"colours-{count}.bmp", bmp(w, h, 8, bmp_rows(index, 8), palette=padded, colors=count), AS_PILLOW
    gap = bmp(w, h, 8, b"gap!" + bmp_rows(index, 8), palette=colors.tobytes(), offset=14 + 40 + 1024 + 4)
    yield "gap-before-pixels.bmp", gap, READ
    yield "gap-before-pixels-24.bmp", bmp(w, h, 24, b"gap-gap!" + bmp_rows(color, 24), offset=14 + 40 + 8), READ
    yield "offset-in-palette.bmp", bmp(w, h, 8, bmp_rows(index, 8), palette=colors.tobytes(), offset=14 + 40 + 512), AS_PILLOW
    yield "offset-at-header.bmp", bmp(w, h, 8, bmp_rows(index, 8), palette=colors.tobytes(), offset=14 + 40), AS_PILLOW
    yield "offset-0.bmp", bmp(w, h, 8, bmp_rows(index, 8), palette=colors.tobytes(), offset=0), AS_PILLOW
    yield "offset-beyond.bmp", bmp(w, h, 24, bmp_rows(color, 24), offset=100000), REFUSE
    yield "size-wrong.bmp", b"BM" + bytes(4) + bmp(w, h, 24, bmp_rows(color, 24))[6:], READ
    yield "planes-0.bmp", bmp(w, h, 24, bmp_rows(color, 24))[:26] + b"\0\0" + bmp(w, h, 24, bmp_rows(color, 24))[28:], READ
    yield "mono-inverted.bmp", bmp(w, h, 1, bmp_rows(index >> 7, 1), palette=b"\xff\xff\xff\0\0\0\0\0"), READ
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    yield "grey-inverted.bmp", bmp(w, h, 8, bmp_rows(index, 8), palette=grey[::-1].tobytes()), READ
    yield "grey-16.bmp", bmp(w, h, 4, bmp_rows(index >> 4, 4), palette=(grey[:16] * 17).tobytes()), READ
    last = bmp(w, h, 24, bmp_rows(color, 24))
    for missing in (1, 3, 4, 127):
        yield f"last-row-padding-{missing}.bmp", last[:-missing], READ if missing <= -(3 * w) % 4 else REFUSE
    # Run lengths.
    tables = {8: colors.tobytes(), 4: colors[:16].tobytes()}
    for bits, compression in ((8, 1), (4, 2)):
        rows = [bytes([w, y]) for y in range(h)]
        streams = {
            "rows": b"\0\0".join(rows) + b"\0\1", "no-end": b"\0\0".join(rows), "end-of-line-then-end": b"\0\0".join(rows) + b"\0\0\0\1",
            "no-line-ends": b"".join(rows) + b"\0\1", "short-rows": b"".join(bytes([w - 9, y]) + b"\0\0" for y in range(h)) + b"\0\1",
            "long-rows": b"".join(bytes([w + 9, y]) + b"\0\0" for y in range(h)) + b"\0\1",
            "odd-literal": b"".join(b"\0\x05abcde" + (b"\0" if bits == 8 else b"\0") + bytes([w - 5, y]) + b"\0\0" for y in range(h)) + b"\0\1" if bits == 8
            else b"".join(b"\0\x05\x12\x34\x50\0" + bytes([w - 5, y]) + b"\0\0" for y in range(h)) + b"\0\1",
            "literal-3": b"".join((b"\0\x03abc\0" if bits == 8 else b"\0\x03\x12\x30") + bytes([w - 3, y]) + b"\0\0" for y in range(h)) + b"\0\1",
            "skip-right": b"".join(b"\0\2\x04\0" + bytes([w - 4, y]) + b"\0\0" for y in range(h)) + b"\0\1",
            "skip-rows": rows[0] + b"\0\0" + b"\0\2\0\x03" + b"\0\0".join(rows[4:]) + b"\0\1",
            "ends-early": b"\0\0".join(rows[: h // 2]) + b"\0\1", "empty": b"\0\1", "cut": b"\0\0".join(rows[: h // 2]),
            "empty-rows": b"".join(b"\0\0" for _ in range(h)) + b"\0\1", "runs-of-1": b"".join(b"".join(bytes([1, x + y & 255]) for x in range(w)) + b"\0\0" for y in range(h)) + b"\0\1",
        }
        for name, stream in streams.items():
            for down in (1, -1):
                yield f"rle{bits}-{name}-{down}.bmp", bmp(w, down * h, bits, stream, compression=compression, palette=tables[bits]), AS_PILLOW
    yield "rle8-in-4-bits.bmp", bmp(w, h, 4, bytes([w, 1]) * h, compression=1, palette=tables[4]), AS_PILLOW
    yield "rle4-in-8-bits.bmp", bmp(w, h, 8, bytes([w, 1]) * h, compression=2, palette=tables[8]), AS_PILLOW
    yield "os2-16.bmp", bmp(w, h, 16, bmp_rows(rng.integers(0, 65536, (h, w)).astype("<u2"), 16), header=12), AS_PILLOW
    yield "os2-32.bmp", bmp(w, h, 32, bmp_rows(four, 32), header=12), AS_PILLOW
