# SPDX-License-Identifier: Apache-2.0
"""Odd AVIF files: containers of every layout around pictures that Pillow writes, colours described in every way, grids, alpha,
properties that turn or cut, and damage. Used by make_odd.py."""

import struct

import numpy as np
from PIL import Image

from damaged_avif import box, inside
from deep_avif import deep_avifs
from make_corpus import picture, rgb, saved
from verdict import AS_PILLOW, READ, REFUSE


class Item:
    def __init__(self, kind, data, properties=(), refers=(), hidden=False):
        self.kind, self.data, self.properties, self.refers, self.hidden = kind, data, properties, refers, hidden


def container(items, *, primary=1, brands=b"avif\0\0\0\0avifmif1miaf", version=1, in_idat=(), pieces=1, base=0, large=False, before=b"", between=b"", order=None,
              wide=False, claim=0):
    """items: {number: Item}. Properties are (kind, body) pairs, refers are (kind, [numbers])."""
    known = []
    for item in items.values():
        for p in item.properties:
            if p not in known:
                known.append(p)
    ipco = box(b"ipco", b"".join(box(k, b) for k, b in known))
    number = ">I" if wide else ">H"
    ipma = struct.pack(">I", len(items))
    for i, item in items.items():
        ipma += struct.pack(number, i) + bytes([len(item.properties)])
        for p in item.properties:
            essential = p[0] in (b"av1C", b"irot", b"imir", b"clap", b"lsel")
            ipma += struct.pack(">H" if wide else ">B", known.index(p) + 1 | (essential << (15 if wide else 7)))
    iprp = box(b"iprp", ipco + box(b"ipma", ipma, 1 << 24 | 1 if wide else 0))
    infe = b"".join(box(b"infe", struct.pack(number + "H", i, 0) + item.kind + b"\0", (3 if wide else 2) << 24 | int(item.hidden)) for i, item in items.items())
    iinf = box(b"iinf", struct.pack(">I" if wide else ">H", len(items)) + infe, 1 << 24 if wide else 0)
    iref = b"".join(box(k, struct.pack(number + "H", i, len(to)) + b"".join(struct.pack(number, t) for t in to)) for i, item in items.items() for k, to in item.refers)
    iref = box(b"iref", iref, 1 << 24 if wide else 0) if iref else b""
    idat = b"".join(items[i].data for i in in_idat)
    hdlr = box(b"hdlr", bytes(4) + b"pict" + bytes(13), 0)

    def meta(at):
        entries, inner = b"", 0
        for i, item in items.items():
            entries += struct.pack(">I" if version == 2 else ">H", i)
            if version:
                entries += struct.pack(">H", 1 if i in in_idat else 0)
            start = inner if i in in_idat else at
            cut = [len(item.data) * k // pieces for k in range(pieces + 1)]
            entries += struct.pack(">H", 0) + (struct.pack(">I", start if base else 0) if base else b"") + struct.pack(">H", pieces)
            for a, b in zip(cut, cut[1:]):
                entries += struct.pack(">II", (0 if base else start) + a, b - a + (claim if b == len(item.data) else 0))
            if i in in_idat:
                inner += len(item.data)
            else:
                at += len(item.data)
        iloc = box(b"iloc", bytes([0x44, 0x40 if base else 0]) + struct.pack(">I" if version == 2 else ">H", len(items)) + entries, version << 24)
        parts = {"pitm": box(b"pitm", struct.pack(number, primary), 1 << 24 if wide else 0), "iloc": iloc, "iinf": iinf, "iprp": iprp, "iref": iref,
                 "idat": box(b"idat", idat) if in_idat else b""}
        return box(b"meta", hdlr + b"".join(parts[name] for name in order or parts), 0)

    head = box(b"ftyp", brands) + before
    data = b"".join(item.data for i, item in items.items() if i not in in_idat)
    at = len(head) + len(meta(0)) + len(between) + (16 if large else 8)
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + len(data)) + data if large else box(b"mdat", data)
    return head + meta(at) + between + mdat


def ispe(width, height):
    return b"ispe", struct.pack(">III", 0, width, height)


def nclx(primaries, matrix, full):
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, 13, matrix, full << 7)


def coded(image, **options):
    data = saved(image, "AVIF", autotiling=False, speed=10, **options)
    return inside(data, b"mdat"), (b"av1C", inside(data, b"av1C"))


def grid_item(rows, columns, width, height, wide=False):
    return struct.pack(">BBBB" + ("II" if wide else "HH"), 0, int(wide), rows - 1, columns - 1, width, height)


ALPHA = (b"auxC", bytes(4) + b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
PIXI = (b"pixi", bytes(4) + b"\x03\x08\x08\x08")


def odd_avifs():
    w, h = 45, 33
    data, av1c = coded(rgb(w, h, 1), quality=70)
    plain = [ispe(w, h), PIXI, av1c, nclx(1, 6, 1)]
    one = {1: Item(b"av01", data, plain)}
    yield "plain.avif", container(one), READ
    for version in (0, 1, 2):
        for pieces in (1, 3):
            for base in (0, 1):
                yield f"iloc-{version}-{pieces}-{base}.avif", container(one, version=version, pieces=pieces, base=base), READ
    yield "idat.avif", container(one, in_idat=(1,)), READ
    yield "large-box.avif", container(one, large=True), READ
    yield "wide-numbers.avif", container(one, wide=True), READ
    yield "free-before.avif", container(one, before=box(b"free", bytes(99))), READ
    yield "unknown-between.avif", container(one, between=box(b"abcd", b"xyz") + box(b"uuid", bytes(40))), READ
    yield "order.avif", container(one, order=["iprp", "iinf", "iref", "idat", "pitm", "iloc"]), READ
    for name, brands in (("avis", b"avis\0\0\0\0avifavis"), ("mif1", b"mif1\0\0\0\0mif1avif"), ("avif-alone", b"avif\0\0\0\0"), ("many", b"avif\0\0\0\1" + b"abcd" * 30)):
        yield f"brand-{name}.avif", container(one, brands=brands), AS_PILLOW
    number_9 = {9: one[1], 300: Item(b"Exif", bytes(4) + b"II*\0\x08\0\0\0\0\0")}
    yield "number-9.avif", container(number_9, primary=9), READ
    yield "primary-missing.avif", container(one, primary=2), REFUSE
    small, small_config = coded(rgb(16, 16, 2), quality=70)
    thumb = {1: one[1], 2: Item(b"av01", small, [ispe(16, 16), PIXI, small_config], [(b"thmb", [1])])}
    yield "thumbnail-behind.avif", container(thumb), READ
    yield "thumbnail-first.avif", container({2: thumb[2], 1: thumb[1]}), AS_PILLOW
    yield "hidden-other.avif", container({1: one[1], 2: Item(b"av01", small, [ispe(16, 16), PIXI, small_config], hidden=True)}), READ
    turning = {f"irot-{a}": (b"irot", bytes([a])) for a in range(4)} | {f"imir-{a}": (b"imir", bytes([a])) for a in range(2)}
    turning["clap"] = (b"clap", struct.pack(">8I", 20, 1, 16, 1, 0, 1, 0, 1))
    turning |= {"pasp": (b"pasp", struct.pack(">II", 2, 1)), "clli": (b"clli", bytes(4)), "unknown": (b"abcd", b"xyz"), "lsel": (b"lsel", b"\xff\xff")}
    for name, property_ in turning.items():
        yield f"{name}.avif", container({1: Item(b"av01", data, [*plain, property_])}), AS_PILLOW
    yield "irot-and-imir.avif", container({1: Item(b"av01", data, [*plain, turning["irot-1"], turning["imir-0"]])}), AS_PILLOW
    yield "no-ispe.avif", container({1: Item(b"av01", data, plain[1:])}), AS_PILLOW
    yield "no-pixi.avif", container({1: Item(b"av01", data, [plain[0], *plain[2:]])}), READ
    yield "no-colr.avif", container({1: Item(b"av01", data, plain[:3])}), READ
    yield "no-config.avif", container({1: Item(b"av01", data, [plain[0], plain[1], plain[3]])}), AS_PILLOW
    for dw, dh in ((1, 0), (-1, 0), (0, 8), (-9, -9)):
        yield f"ispe-{dw}-{dh}.avif", container({1: Item(b"av01", data, [ispe(w + dw, h + dh), *plain[1:]])}), AS_PILLOW
    yield "colr-prof.avif", container({1: Item(b"av01", data, [*plain[:3], (b"colr", b"prof" + bytes(200))])}), AS_PILLOW
    yield "colr-both.avif", container({1: Item(b"av01", data, [*plain[:3], (b"colr", b"prof" + bytes(200)), plain[3]])}), AS_PILLOW
    yield "colr-twice.avif", container({1: Item(b"av01", data, [*plain, nclx(1, 1, 0)])}), AS_PILLOW
    yield "colr-cut.avif", container({1: Item(b"av01", data, [*plain[:3], (b"colr", b"nclx\0\1")])}), AS_PILLOW
    yield "colr-unknown.avif", container({1: Item(b"av01", data, [*plain[:3], (b"colr", b"abcd1234567")])}), AS_PILLOW
    for options in ({}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"subsampling": "4:0:0"}):
        stream, config = coded(rgb(w, h, 3), quality=90, **options)
        for matrix in (*range(15), 255):
            for full in (0, 1):
                yield f"matrix-{options.get('subsampling', 'usual').replace(':', '')}-{matrix}-{full}.avif", \
                    container({1: Item(b"av01", stream, [ispe(w, h), PIXI, config, nclx(2, matrix, full)])}), AS_PILLOW
        for primaries in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22, 99):
            yield f"primaries-{options.get('subsampling', 'usual').replace(':', '')}-{primaries}.avif", \
                container({1: Item(b"av01", stream, [ispe(w, h), PIXI, config, nclx(primaries, 12, 1)])}), AS_PILLOW
    for width, height in ((1, 1), (2, 2), (3, 1), (1, 5), (16, 17), (65, 64), (200, 3)):
        for options in ({}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"range": "limited"}, {"quality": 100, "subsampling": "4:4:4"}, {"quality": 5}):
            tag = "-".join(str(v).replace(":", "") for v in options.values()) or "usual"
            yield f"size-{width}x{height}-{tag}.avif", saved(rgb(width, height, 4), "AVIF", speed=10, **options), READ
    # Alpha, dropped or divided by.
    level, level_config = coded(Image.fromarray(picture(w, h, 5, 1)[:, :, 0]), quality=90, subsampling="4:0:0")
    alpha = Item(b"av01", level, [ispe(w, h), level_config, ALPHA], [(b"auxl", [1])])
    for subsampling in ("4:2:0", "4:4:4", "4:2:2", "4:0:0"):
        stream, config = coded(rgb(w, h, 3), quality=90, subsampling=subsampling)
        tag = subsampling.replace(":", "")
        for matrix in (1, 2, 6, 9, 12):
            for full in (0, 1):
                described = [ispe(w, h), PIXI, config, nclx(1, matrix, full)]
                yield f"alpha-{tag}-{matrix}-{full}.avif", container({1: Item(b"av01", stream, described), 2: alpha}), READ
                yield f"multiplied-{tag}-{matrix}-{full}.avif", container({1: Item(b"av01", stream, described, [(b"prem", [2])]), 2: alpha}), READ
    four = Image.fromarray(picture(64, 48, 4, 4), "RGBA")
    yield "multiplied-saved.avif", saved(four, "AVIF", alpha_premultiplied=True), READ
    yield "multiplied-saved-444.avif", saved(four, "AVIF", alpha_premultiplied=True, subsampling="4:4:4", quality=100), READ
    multiplied = {1: Item(b"av01", data, plain, [(b"prem", [2])]), 2: alpha}
    yield "multiplied-alpha-first.avif", container({2: alpha, 1: multiplied[1]}), AS_PILLOW
    yield "multiplied-by-nothing.avif", container({1: multiplied[1]}), AS_PILLOW
    yield "multiplied-by-other.avif", container({1: Item(b"av01", data, plain, [(b"prem", [3])]), 2: alpha, 3: Item(b"Exif", bytes(12))}), AS_PILLOW
    other, other_config = coded(Image.fromarray(picture(20, 20, 5, 1)[:, :, 0]), quality=90, subsampling="4:0:0")
    yield "multiplied-other-size.avif", container({1: multiplied[1], 2: Item(b"av01", other, [ispe(20, 20), other_config, ALPHA], [(b"auxl", [1])])}), REFUSE
    yield "multiplied-alpha-cut.avif", container({1: multiplied[1], 2: Item(b"av01", level[: len(level) // 2], alpha.properties, alpha.refers)}), REFUSE
    for name, bytes_ in deep_avifs().items():
        yield f"deep-{name}.avif", bytes_, READ
        yield f"deep-{name}-cut.avif", bytes_[:-9], REFUSE if "multiplied" not in name else AS_PILLOW
        if "multiplied" in name:
            yield f"deep-{name}-dropped.avif", bytes_.replace(b"prem", b"xrem"), READ
    # Grids.
    for columns, rows, side in ((1, 1, 64), (2, 1, 64), (1, 3, 64), (3, 2, 64), (2, 2, 66)):
        for cut_x, cut_y in ((0, 0), (1, 1), (20, 30)):
            for subsampling in ("4:2:0", "4:4:4"):
                whole = picture(columns * side, rows * side, 6)
                tiles = [coded(Image.fromarray(np.ascontiguousarray(whole[y : y + side, x : x + side])), quality=90, subsampling=subsampling)
                         for y in range(0, rows * side, side) for x in range(0, columns * side, side)]
                width, height = columns * side - cut_x, rows * side - cut_y
                colours = nclx(1, 6, 1)
                items = {1: Item(b"grid", grid_item(rows, columns, width, height), [ispe(width, height), PIXI, colours], [(b"dimg", list(range(2, 2 + len(tiles))))])}
                for i, (stream, config) in enumerate(tiles, 2):
                    items[i] = Item(b"av01", stream, [ispe(side, side), PIXI, config, colours], hidden=True)
                tag = f"{columns}x{rows}-{side}-{cut_x}-{subsampling.replace(':', '')}"
                yield f"grid-{tag}.avif", container(items, in_idat=(1,)), AS_PILLOW
                if cut_x == 0 and len(tiles) > 1:
                    yield f"grid-{tag}-wide.avif", container(items | {1: Item(b"grid", grid_item(rows, columns, width, height, True), items[1].properties, items[1].refers)}), AS_PILLOW
                    less = items | {1: Item(b"grid", items[1].data, items[1].properties, [(b"dimg", list(range(2, 1 + len(tiles))))])}
                    yield f"grid-{tag}-tile-missing.avif", container(less, in_idat=(1,)), REFUSE
                    cut = items | {3: Item(b"av01", items[3].data[: len(items[3].data) // 2], items[3].properties)}
                    yield f"grid-{tag}-tile-cut.avif", container(cut, in_idat=(1,)), REFUSE
    # Damage.
    for part in (0.1, 0.5, 0.9):
        at = int(len(data) * part)
        yield f"data-{part}.avif", container({1: Item(b"av01", data[:at], plain)}), REFUSE
        yield f"data-{part}-claimed.avif", container({1: Item(b"av01", data[:at], plain)}, claim=len(data) - at), REFUSE
    yield "data-empty.avif", container({1: Item(b"av01", b"", plain)}), AS_PILLOW
    yield "data-more.avif", container({1: Item(b"av01", data + b"\x12\0", plain)}), AS_PILLOW
