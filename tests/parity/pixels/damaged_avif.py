# SPDX-License-Identifier: Apache-2.0
"""Damaged AVIF files, and grids of tiles. Used by make_damage.py and odd_avif.py."""

import struct

from PIL import Image

from make_corpus import picture, rgb, saved
from verdict import READ, REFUSE


def box(kind, body, full=None):
    body = (b"" if full is None else struct.pack(">I", full)) + body
    return struct.pack(">I", 8 + len(body)) + kind + body


def inside(data, kind):
    """The body of the first box of this kind, found by its name."""
    at = data.find(kind)
    return data[at + 4 : at + struct.unpack(">I", data[at - 4 : at])[0] - 4]


def avif_grid(width, height, side, *, missing=0, claimed=None):
    """A picture of width x height in tiles of side x side, each written by Pillow. `claimed`: the size in its header."""
    columns, rows = -(-width // side), -(-height // side)
    whole = picture(columns * side, rows * side, 8)
    tiles = [saved(Image.fromarray(whole[y : y + side, x : x + side]), "AVIF", quality=80, autotiling=False)
             for y in range(0, rows * side, side) for x in range(0, columns * side, side)]
    coded = [inside(t, b"mdat") for t in tiles]
    wide, high = claimed or (width, height)
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, wide, high)
    ids = list(range(2, 2 + len(tiles)))
    items = box(b"infe", struct.pack(">HH", 1, 0) + b"grid\0", 2 << 24)
    items += b"".join(box(b"infe", struct.pack(">HH", i, 0) + b"av01\0", 2 << 24 | 1) for i in ids)
    iinf = box(b"iinf", struct.pack(">H", 1 + len(ids)) + items, 0)
    properties = [box(b"ispe", struct.pack(">II", wide, high), 0), box(b"ispe", struct.pack(">II", side, side), 0),
                  box(b"pixi", b"\x03\x08\x08\x08", 0), box(b"av1C", inside(tiles[0], b"av1C")), box(b"colr", inside(tiles[0], b"colr"))]
    ipma = struct.pack(">I", 1 + len(ids)) + struct.pack(">HBBBB", 1, 3, 1, 3, 5)
    ipma += b"".join(struct.pack(">HBBBBB", i, 4, 2, 3, 0x84, 5) for i in ids)
    iprp = box(b"iprp", box(b"ipco", b"".join(properties)) + box(b"ipma", ipma, 0))
    iref = box(b"iref", box(b"dimg", struct.pack(">HH", 1, len(ids)) + b"".join(struct.pack(">H", i) for i in ids)), 0)
    handler = box(b"hdlr", bytes(4) + b"pict" + bytes(13), 0)

    def meta(at):
        entries = struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(grid))
        for i, data in zip(ids, coded):
            entries += struct.pack(">HHHHII", i, 0, 0, 1, at, len(data))
            at += len(data)
        iloc = box(b"iloc", b"\x44\x00" + struct.pack(">H", 1 + len(ids)) + entries, 1 << 24)
        return box(b"meta", handler + box(b"pitm", struct.pack(">H", 1), 0) + iloc + iinf + iprp + iref + box(b"idat", grid), 0)

    start = box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf")
    data = b"".join(coded)
    whole_file = start + meta(len(start) + len(meta(0)) + 8) + box(b"mdat", data)
    return whole_file[: len(whole_file) - missing]


def damaged_avifs():
    yield "grid.avif", avif_grid(128, 128, 64), READ
    yield "grid-cropped.avif", avif_grid(180, 100, 64), READ
    yield "grid-cut.avif", avif_grid(128, 128, 64, missing=1), REFUSE
    yield "grid-cut-half.avif", avif_grid(128, 128, 64, missing=900), REFUSE
    yield "grid-larger-than-its-tiles.avif", avif_grid(128, 128, 64, claimed=(200, 128)), REFUSE
    kinds = {
        "420": saved(rgb(64, 48, 1), "AVIF", quality=80),
        "444": saved(rgb(61, 45, 2), "AVIF", quality=80, subsampling="4:4:4"),
        "422": saved(rgb(61, 45, 2), "AVIF", quality=80, subsampling="4:2:2"),
        "limited": saved(rgb(61, 45, 2), "AVIF", quality=80, range="limited"),
        "grey": saved(rgb(64, 48, 3).convert("L"), "AVIF", quality=80),
        "alpha": saved(Image.fromarray(picture(64, 48, 4, 4), "RGBA"), "AVIF", quality=80),
        "animated": saved(rgb(64, 48, 5), "AVIF", save_all=True, append_images=[rgb(64, 48, 6)], quality=80),
    }
    for name, data in kinds.items():
        yield f"{name}-whole.avif", data, READ
        yield f"{name}-trailing.avif", data + b"\0\0\0\x0cfreexxxx", READ
        if name in ("alpha", "animated"):
            continue
        for part in (0.6, 0.9):
            yield f"{name}-cut-{part}.avif", data[: int(len(data) * part)], REFUSE
        yield f"{name}-cut-1.avif", data[:-1], REFUSE
    data = kinds["420"]
    yield "brand-mif1.avif", data[:8] + b"mif1" + data[12:], READ
