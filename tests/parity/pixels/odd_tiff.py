# SPDX-License-Identifier: Apache-2.0
"""Odd TIFF files: every compression with every mode that Pillow writes, predictors, tiles, planes, tags that are missing or of
another type, and damage in each piece of data. Used by make_odd.py."""

import io
import struct

import numpy as np
from PIL import Image

from damaged_tiff import tiff
from make_corpus import picture, rgb, saved
from verdict import AS_PILLOW, READ, REFUSE


def entries(data):
    """The first directory of a classic little-endian file: {tag: (place, type, count, value)}."""
    at = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[at : at + 2])[0]
    found = {}
    for i in range(count):
        e = at + 2 + 12 * i
        tag, kind, number, value = struct.unpack("<HHII", data[e : e + 12])
        found[tag] = (e, kind, number, value)
    return found


def without(data, tag):
    """The same file whose `tag` became a private one."""
    out = bytearray(data)
    out[entries(data)[tag][0] : entries(data)[tag][0] + 2] = struct.pack("<H", 65000)
    return bytes(out)


def changed(data, tag, *, kind=None, count=None, value=None):
    out = bytearray(data)
    e, k, n, v = entries(data)[tag]
    out[e : e + 12] = struct.pack("<HHII", tag, kind if kind is not None else k, n if count is None else count, v if value is None else value)
    return bytes(out)


def predicted(samples, kind):
    """What is stored of [height, width, channels] with predictor 2 (differences) or 3 (floats, bytes apart)."""
    if kind == 2:
        out = samples.copy()
        out[:, 1:] = samples[:, 1:] - samples[:, :-1]
        return out
    rows = []
    for row in samples.reshape(samples.shape[0], -1).astype(">f4"):
        planes = np.frombuffer(row.tobytes(), np.uint8).reshape(-1, 4).T.reshape(-1)
        step = samples.shape[2]
        rows.append(np.concatenate([planes[:step], planes[step:] - planes[:-step]]).astype(np.uint8))
    return np.stack(rows)


def with_predictor(samples, photometric, bits, predictor, **options):
    """tiff() of predicted samples, which says so."""
    stored = predicted(samples, predictor)
    if predictor == 3:
        data = tiff(stored[:, :, None], photometric, 8, compression=8, **options)
        data = changed(data, 258, value=32)
        data = changed(data, 256, value=samples.shape[1])
    else:
        data = tiff(stored, photometric, bits, compression=8, **options)
    return append_tag(data, 317, predictor)


def append_tag(data, tag, value, kind=3):
    """Moves the directory to the end of the file, with one entry more."""
    at = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[at : at + 2])[0]
    rows = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    rows.append(struct.pack("<HHII", tag, kind, 1, value))
    rows.sort(key=lambda r: struct.unpack("<H", r[:2])[0])
    out = bytearray(data + bytes(len(data) % 2))
    out[4:8] = struct.pack("<I", len(out))
    return bytes(out) + struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)


def modes(w, h):
    color = rgb(w, h, 3)
    return {
        "1": color.convert("1"), "L": color.convert("L"), "P": color.quantize(64), "RGB": color, "RGBA": Image.fromarray(picture(w, h, 4, 4), "RGBA"),
        "LA": Image.fromarray(picture(w, h, 4, 2), "LA"), "CMYK": Image.fromarray(picture(w, h, 4, 4), "CMYK"), "YCbCr": color.convert("YCbCr"),
        "I;16": Image.fromarray(np.random.default_rng(2).integers(0, 400, (h, w)).astype(np.uint16)), "I": color.convert("I"), "F": color.convert("F"),
        "PA": color.quantize(64).convert("PA"), "LAB": color.convert("LAB"),
    }


def odd_tiffs():
    w, h = 51, 37
    for mode, image in modes(w, h).items():
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd", "webp", "jpeg", "group3", "group4", "tiff_ccitt", "tiff_thunderscan"):
            for predictor in (1, 2, 3):
                if predictor > 1 and compression not in ("tiff_lzw", "tiff_adobe_deflate", "lzma", "zstd"):
                    continue
                for strip in (None, 200):
                    try:
                        data = saved(image, "TIFF", compression=compression, strip_size=strip or 65536, tiffinfo={317: predictor} if predictor > 1 else {})
                        Image.open(io.BytesIO(data)).load()
                    except Exception:  # noqa: BLE001 - not every mode goes with every compression
                        continue
                    yield f"saved-{mode.replace(';', '')}-{compression}-{predictor}-{strip}.tif", data, AS_PILLOW
    four, grey = picture(w, h, 4, 4), picture(w, h, 5, 1)
    color = four[:, :, :3]
    random = np.random.default_rng(9)
    wide = random.integers(0, 65536, (h, w, 4)).astype(np.uint16)
    floats = (random.random((h, w, 1)) * 300).astype(np.float32)
    for name, samples, photometric, bits in (("grey8", grey, 1, 8), ("rgb8", color, 2, 8), ("grey16", wide[:, :, :1] % 300, 1, 16), ("rgb16", wide[:, :, :3], 2, 16),
                                             ("cmyk8", four, 5, 8), ("cmyk16", wide, 5, 16), ("palette8", grey, 3, 8)):
        more = {"palette": list(random.integers(0, 65536, 768))} if photometric == 3 else {}
        for shape in ({}, {"rows_per_strip": 5}, {"tile": 16}, {"tile": 64}, {"planar": 2}, {"planar": 2, "rows_per_strip": 5}, {"planar": 2, "tile": 16}):
            if shape.get("planar") and samples.shape[2] == 1:
                continue
            tag = "-".join(f"{k}{v}" for k, v in shape.items()) or "one"
            for compression in (1, 8, 32946):
                data = tiff(samples, photometric, bits, compression=compression, **shape, **more)
                yield f"{name}-{tag}-{compression}.tif", data, READ
                if shape.get("planar") != 2:
                    yield f"{name}-{tag}-{compression}-mm.tif", tiff(samples, photometric, bits, compression=compression, big=True, **shape, **more), AS_PILLOW
            if "planar" not in shape and photometric != 3 and shape.get("tile") is None:
                yield f"{name}-{tag}-predictor-2.tif", with_predictor(samples, photometric, bits, 2, **shape), READ
    yield "float-predictor-3.tif", append_tag(with_predictor(floats, 1, 32, 3, rows_per_strip=h), 339, 3), AS_PILLOW
    for kind, samples, bits in ((1, random.integers(0, 256, (h, w, 1)).astype(np.uint8), 8), (2, random.integers(-128, 128, (h, w, 1)).astype(np.int8), 8),
                                (2, random.integers(-300, 300, (h, w, 1)).astype(np.int16), 16), (3, floats, 32), (3, floats.astype(np.float64), 64), (3, floats.astype(np.float16), 16),
                                (2, random.integers(-300, 300, (h, w, 1)).astype(np.int32), 32), (1, random.integers(0, 300, (h, w, 1)).astype(np.uint32), 32), (4, grey, 8), (5, floats, 32)):
        for photometric in (0, 1):
            for big in (False, True):
                yield f"format-{kind}-{bits}-{photometric}-{big}.tif", tiff(samples, photometric, bits, sample_format=kind, big=big), AS_PILLOW
    special = floats.copy()
    special[0, :6, 0] = [np.nan, np.inf, -np.inf, -5, 1e30, 254.99]
    yield "float-special.tif", tiff(special, 1, 32, sample_format=3), AS_PILLOW
    for extra in ([0], [1], [2], [0, 0], [2, 0], [0, 2], [1, 2]):
        many = np.concatenate([four[:, :, :3], np.repeat(four[:, :, 3:], len(extra), 2)], 2)
        for shape in ({}, {"tile": 16}, {"planar": 2}):
            tag = "-".join(map(str, extra)) + "".join(f"-{k}" for k in shape)
            yield f"rgb-extra-{tag}.tif", tiff(many, 2, 8, extra=extra, **shape), AS_PILLOW
            yield f"grey-extra-{tag}.tif", tiff(many[:, :, 2:], 1, 8, extra=extra, **shape), AS_PILLOW
            yield f"rgb16-extra-{tag}.tif", tiff(many.astype(np.uint16) * 257, 2, 16, extra=extra, **shape), AS_PILLOW
        ink = np.concatenate([four, np.repeat(four[:, :, 3:], len(extra), 2)], 2)
        yield f"cmyk-extra-{'-'.join(map(str, extra))}.tif", tiff(ink, 5, 8, extra=extra), AS_PILLOW
    for shape in ({}, {"big": True}, {"tile": 16}, {"planar": 2}, {"planar": 2, "tile": 16}, {"compression": 8}, {"planar": 2, "compression": 8}, {"orientation": 6}):
        yield f"lab-{'-'.join(map(str, shape)) or 'plain'}.tif", tiff(color, 8, 8, **shape), READ
    yield "rgb-4-no-extra.tif", tiff(four, 2, 8), AS_PILLOW
    yield "rgb-5-no-extra.tif", tiff(np.concatenate([four, four[:, :, :1]], 2), 2, 8), AS_PILLOW
    yield "grey-2-no-extra.tif", tiff(four[:, :, :2], 1, 8), AS_PILLOW
    for bits in (3, 5, 6, 7, 10, 14, 24):
        yield f"bits-{bits}.tif", changed(tiff(grey, 1, 8), 258, value=bits), AS_PILLOW
    for photometric in (4, 7, 8, 9, 10, 32803, 32844, 34892):
        yield f"photometric-{photometric}.tif", changed(tiff(color, 2, 8), 262, value=photometric), AS_PILLOW
        yield f"photometric-{photometric}-grey.tif", changed(tiff(grey, 1, 8), 262, value=photometric), AS_PILLOW
    for compression in (0, 2, 3, 4, 5, 6, 7, 9, 32766, 32771, 32895, 32909, 34676, 34712, 50001, 60000):
        yield f"compression-{compression}.tif", changed(tiff(color, 2, 8), 259, value=compression), AS_PILLOW
    base = tiff(color, 2, 8, rows_per_strip=10)
    one = tiff(grey, 1, 8)
    for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279, 284):
        yield f"without-{tag}.tif", without(base, tag), AS_PILLOW
        yield f"without-{tag}-grey.tif", without(one, tag), AS_PILLOW
    for tag in (256, 257, 278):
        yield f"short-{tag}.tif", changed(one, tag, kind=3), AS_PILLOW
        yield f"byte-{tag}.tif", changed(one, tag, kind=1), AS_PILLOW
        yield f"signed-{tag}.tif", changed(one, tag, kind=9), AS_PILLOW
        yield f"count-2-{tag}.tif", changed(one, tag, count=2), AS_PILLOW
        yield f"count-0-{tag}.tif", changed(one, tag, count=0), AS_PILLOW
    yield "rows-per-strip-huge.tif", changed(one, 278, value=0xFFFFFFFF), READ
    yield "rows-per-strip-more.tif", changed(one, 278, value=h + 9), READ
    yield "rows-per-strip-0.tif", changed(one, 278, value=0), AS_PILLOW
    yield "byte-count-0.tif", changed(one, 279, value=0), AS_PILLOW
    yield "byte-count-less.tif", changed(one, 279, value=w * h - 9), AS_PILLOW
    yield "byte-count-more.tif", changed(one, 279, value=w * h + 999), AS_PILLOW
    yield "samples-0.tif", changed(one, 277, value=0), AS_PILLOW
    yield "height-more.tif", changed(one, 257, value=h + 5), REFUSE
    yield "height-less.tif", changed(one, 257, value=h - 5), READ
    yield "planar-3.tif", changed(base, 284, value=3), AS_PILLOW
    for name, tags in (("fill-order", (266, 2)), ("resolution-unit", (296, 3)), ("subfile", (254, 1)), ("page", (297, 1)), ("orientation-0", (274, 0)), ("orientation-9", (274, 9)),
                       ("min", (280, 0)), ("threshold", (263, 2)), ("subifd", (330, 8)), ("predictor-raw", (317, 2)), ("predictor-9", (317, 9))):
        yield f"tag-{name}.tif", append_tag(one, *tags), AS_PILLOW
        yield f"tag-{name}-zip.tif", append_tag(tiff(grey, 1, 8, compression=8), *tags), AS_PILLOW
    yield "tag-fill-order-1-bit.tif", append_tag(tiff(grey >> 7, 1, 1), 266, 2), AS_PILLOW
    yield "tag-twice.tif", append_tag(one, 262, 0), AS_PILLOW
    for options in (0, 1, 2, 4, 5):
        for compression in ("group3", "group4", "tiff_ccitt"):
            for order in (1, 2):
                for photometric in (0, 1):
                    try:
                        data = saved(modes(w, h)["1"], "TIFF", compression=compression, tiffinfo={292: options, 266: order, 262: photometric})
                        Image.open(io.BytesIO(data)).load()
                    except Exception:  # noqa: BLE001
                        continue
                    yield f"fax-{compression}-{options}-{order}-{photometric}.tif", data, AS_PILLOW
    for orientation in range(1, 9):
        for shape in ({"tile": 16}, {"rows_per_strip": 5}, {"planar": 2}):
            for compression in (1, 8):
                yield f"turned-{orientation}-{'-'.join(shape)}-{compression}.tif", tiff(color, 2, 8, orientation=orientation, compression=compression, **shape), READ
    pages = [rgb(w, h, 3), rgb(20, 70, 4).convert("L"), rgb(9, 9, 5).quantize(4)]
    for compression in ("raw", "tiff_lzw", "jpeg"):
        try:
            data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=compression)
        except Exception:  # noqa: BLE001
            continue
        yield f"pages-{compression}.tif", data, READ
        yield f"pages-{compression}-last-cut.tif", data[:-20], AS_PILLOW
    # Damage in each piece.
    for name, shape in (("strips", {"rows_per_strip": 6}), ("tiles", {"tile": 16}), ("planes", {"planar": 2}), ("one", {})):
        whole = tiff(color, 2, 8, compression=8, **shape)
        where = entries(whole)
        offsets, counts = (324, 325) if "tile" in shape else (273, 279)
        number = where[offsets][2]

        def values(tag):
            e, _, n, v = where[tag]
            return [v] if n == 1 else list(struct.unpack(f"<{n}I", whole[v : v + 4 * n]))
        for i in sorted({0, number // 2, number - 1}):
            at, size = values(offsets)[i], values(counts)[i]
            for place, offset in (("start", 0), ("middle", size // 2), ("adler", size - 2)):
                broken = bytearray(whole)
                broken[at + offset] ^= 0x5A
                yield f"zip-{name}-piece-{i}-{place}.tif", bytes(broken), REFUSE
            table = where[counts][3] + 4 * i if number > 1 else where[counts][0] + 8
            less = bytearray(whole)
            less[table : table + 4] = struct.pack("<I", size // 2)
            yield f"zip-{name}-piece-{i}-short.tif", bytes(less), REFUSE
            place = where[offsets][3] + 4 * i if number > 1 else where[offsets][0] + 8
            beyond = bytearray(whole)
            beyond[place : place + 4] = struct.pack("<I", len(whole) + 100)
            yield f"zip-{name}-piece-{i}-beyond.tif", bytes(beyond), REFUSE
            hole = bytearray(whole)
            hole[place : place + 4] = bytes(4)
            hole[table : table + 4] = bytes(4)
            yield f"zip-{name}-piece-{i}-hole.tif", bytes(hole), REFUSE
