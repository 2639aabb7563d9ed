# SPDX-License-Identifier: Apache-2.0
"""Odd GIF files: tables, frames and codes that encoders seldom write, and damage at each kind of place. Used by
make_odd.py."""

import struct

import numpy as np

from verdict import AS_PILLOW, READ, REFUSE



def lzw(indices, bits, *, clear_every=None, clear_when_full=True, first_clear=True, end_code=True):
    """GIF's LZW: bytes, codes lowest bit first."""
    clear = 1 << bits
    out, value, have = bytearray(), 0, 0
    size = bits + 1

    def put(code):
        nonlocal value, have
        value |= code << have
        have += size
        while have >= 8:
            out.append(value & 255)
            value >>= 8
            have -= 8

    table, next_code, prefix, since = {}, clear + 2, None, 0
    if first_clear:
        put(clear)
    for index in indices:
        since += 1
        if prefix is None:
            prefix = index
            continue
        key = (prefix, index)
        if key in table:
            prefix = table[key]
            continue
        put(prefix)
        if next_code < 4096:
            table[key] = next_code
            if next_code == 1 << size and size < 12:
                size += 1
            next_code += 1
            full = next_code == 4096
        if (full and clear_when_full and next_code >= 4096) or (clear_every and since >= clear_every):
            put(clear)
            table, next_code, size, since = {}, clear + 2, bits + 1, 0
        full = False
        prefix = index
    put(prefix)
    # a decoder has made one more entry by now
    if next_code == 1 << size and size < 12:
        size += 1
    if end_code:
        put(clear + 1)
    if have:
        out.append(value & 255)
    return bytes(out)


def blocks(data, size=255):
    return b"".join(bytes([len(data[i : i + size])]) + data[i : i + size] for i in range(0, len(data), size)) + b"\0"


def table(colors, seed=0):
    return np.random.default_rng(seed).integers(0, 256, 3 * colors).astype(np.uint8).tobytes()


def gif(screen, frame, indices, *, bits=4, global_table=None, local_table=None, interlaced=False, before=b"", code=None, background=0,
        aspect=0, version=b"89a", block=255, end=b";", **coding):
    """screen (w, h), frame (x, y, w, h), indices in the order of the data."""
    def flags(colors):
        return 0 if colors is None else 0x80 | max(0, (len(colors) // 3 - 1).bit_length() - 1)
    out = b"GIF" + version + struct.pack("<HHBBB", *screen, flags(global_table) | 0x70, background, aspect)
    out += global_table or b""
    out += before + b"," + struct.pack("<HHHHB", *frame, flags(local_table) | (0x40 if interlaced else 0)) + (local_table or b"")
    data = code if code is not None else lzw(indices, bits, **coding)
    return out + bytes([bits]) + blocks(data, block) + end


def control(transparent=None, disposal=0, delay=0):
    return b"\x21\xf9\x04" + struct.pack("<BHB", disposal << 2 | (transparent is not None), delay, transparent or 0) + b"\0"


def odd_gifs():
    rng = np.random.default_rng(5)
    w, h = 37, 29

    def draw(width, height, colors, seed=1):
        r = np.random.default_rng(seed)
        return (r.integers(0, colors, (height, width)) * (r.random((height, width)) < 0.5)).reshape(-1).tolist()

    full = (0, 0, w, h)
    for bits in range(1, 9):
        colors, pixels = table(2**bits, bits), draw(w, h, 2**bits, bits)
        for name, options in (("plain", {}), ("clear-often", {"clear_every": 5}), ("no-first-clear", {"first_clear": False}), ("no-end", {"end_code": False}),
                              ("blocks-of-1", {"block": 1}), ("interlaced", {"interlaced": True}), ("local", {"global_table": None, "local_table": colors})):
            # codes of one bit do not exist: two colours have codes of two
            data = gif((w, h), full, pixels, **{"bits": max(bits, 2), "global_table": colors, **options})
            yield f"bits-{bits}-{name}.gif", data, READ
    noise = rng.integers(0, 256, 150 * 120).tolist()
    for name, options in (("full-cleared", {}), ("full-kept", {"clear_when_full": False})):
        yield f"noise-{name}.gif", gif((150, 120), (0, 0, 150, 120), noise, bits=8, global_table=table(256), **options), READ
    pixels, colors = draw(w, h, 16), table(16, 3)
    for height in range(1, 11):
        for interlaced in (False, True):
            yield f"height-{height}-{interlaced}.gif", gif((w, height), (0, 0, w, height), draw(w, height, 16, height), global_table=colors, interlaced=interlaced), READ
    yield "both-tables.gif", gif((w, h), full, pixels, global_table=colors, local_table=table(16, 9)), READ
    yield "local-smaller.gif", gif((w, h), full, draw(w, h, 4), global_table=table(256), local_table=table(4, 9), bits=2), READ
    yield "no-table.gif", gif((w, h), full, pixels), READ
    yield "no-table-8.gif", gif((w, h), full, draw(w, h, 256), bits=8), READ
    for n in (2, 4, 8, 16):
        yield f"index-beyond-{n}.gif", gif((w, h), full, draw(w, h, 256), bits=8, global_table=table(n, n)), READ
    grey = bytes(v for i in range(256) for v in (i, i, i))
    yield "grey-table.gif", gif((w, h), full, draw(w, h, 256), bits=8, global_table=grey), READ
    yield "grey-table-16.gif", gif((w, h), full, draw(w, h, 256), bits=8, global_table=grey[:48]), READ
    yield "grey-local.gif", gif((w, h), full, draw(w, h, 256), bits=8, global_table=table(256), local_table=grey), READ
    for bits in (5, 6, 8):
        yield f"codes-of-{bits}-for-16-colours.gif", gif((w, h), full, pixels, bits=bits, global_table=colors), READ
    for transparent in (0, 3, 15, 16, 200, 255):
        for name, screen, frame in (("whole", (w, h), full), ("inside", (60, 50), (7, 5, w, h)), ("beyond", (20, 20), (7, 5, w, h))):
            yield f"key-{transparent}-{name}.gif", gif(screen, frame, pixels, global_table=colors, before=control(transparent)), READ
    for disposal in range(8):
        yield f"disposal-{disposal}.gif", gif((60, 50), (7, 5, w, h), pixels, global_table=colors, before=control(2, disposal, 7)), READ
    for background in (0, 5, 15, 16, 255):
        yield f"background-{background}.gif", gif((60, 50), (7, 5, w, h), pixels, global_table=colors, background=background), READ
        yield f"background-{background}-local.gif", gif((60, 50), (7, 5, w, h), pixels, global_table=table(16, 8), local_table=colors, background=background), READ
    yield "key-local.gif", gif((60, 50), (7, 5, w, h), pixels, global_table=table(16, 8), local_table=colors, before=control(2)), READ
    yield "screen-0.gif", gif((0, 0), full, pixels, global_table=colors), READ
    yield "screen-small.gif", gif((5, 5), full, pixels, global_table=colors), READ
    yield "screen-small-moved.gif", gif((5, 5), (3, 4, w, h), pixels, global_table=colors), READ
    yield "aspect.gif", gif((w, h), full, pixels, global_table=colors, aspect=49), READ
    yield "87a.gif", gif((w, h), full, pixels, global_table=colors, version=b"87a"), READ
    extensions = {
        "comment": b"\x21\xfe" + blocks(b"hello"), "loop": b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0", "xmp": b"\x21\xff\x0bXMP DataXMP" + blocks(b"<x/>" * 200),
        "text": b"\x21\x01\x0c" + bytes(12) + blocks(b"hello"), "unknown": b"\x21\x77" + blocks(b"abc"), "two-controls": control(3) + control(5),
        "control-then-none": control(3) + control(None), "control-then-text": control(3) + b"\x21\x01\x0c" + bytes(12) + blocks(b"x"),
        "empty-comment": b"\x21\xfe\0", "long-comment": b"\x21\xfe" + blocks(b"x" * 5000), "zeros-between": b"\0\0\0", "rubbish-between": b"\x55\x66",
        "long-control": b"\x21\xf9\x06\x01\0\0\x03\0\0\0",
    }
    for name, before in extensions.items():
        yield f"before-{name}.gif", gif((60, 50), (7, 5, w, h), pixels, global_table=colors, before=before), READ
    second = b"," + struct.pack("<HHHHB", 0, 0, w, h, 0) + b"\x04" + blocks(lzw(draw(w, h, 16, 8), 4)) + b";"
    first = gif((w, h), full, pixels, global_table=colors, end=b"")
    yield "two-frames.gif", first + control(1, 2) + second, READ
    yield "two-frames-second-cut.gif", (first + control(1, 2) + second)[:-40], READ
    yield "two-frames-no-end.gif", first + second[:-1], READ
    yield "small-first-frame.gif", gif((60, 50), (10, 9, w, h), pixels, global_table=colors, end=b"") + second, READ
    yield "more-pixels.gif", gif((w, h), full, pixels + pixels, global_table=colors), READ
    yield "no-terminator.gif", gif((w, h), full, pixels, global_table=colors, end=b""), READ
    whole = gif((w, h), full, pixels, global_table=colors, end=b"")
    yield "no-block-end.gif", whole[:-1], READ
    code = lzw(pixels, 4)
    short = lzw(pixels[: len(pixels) * 2 // 3], 4)
    yield "ends-early.gif", gif((w, h), full, None, code=short, global_table=colors), REFUSE
    yield "one-pixel-less.gif", gif((w, h), full, pixels[:-1], global_table=colors), REFUSE
    yield "one-row-less.gif", gif((w, h), full, pixels[:-w], global_table=colors), REFUSE
    yield "no-codes.gif", gif((w, h), full, None, code=b"", global_table=colors), REFUSE
    yield "clear-and-end.gif", gif((w, h), full, [], code=bytes([0x10 | 0x20, 0x02]), global_table=colors), REFUSE
    for place in (0.1, 0.5, 0.9):
        at = int(len(code) * place)
        yield f"block-lost-{place}.gif", gif((w, h), full, None, code=code[:at] + code[at + 20 :], global_table=colors), REFUSE
        yield f"block-ends-{place}.gif", whole[: whole.find(blocks(code))] + blocks(code[:at]) + b";", REFUSE
        yield f"cut-{place}.gif", gif((w, h), full, None, code=code, global_table=colors)[: -int(len(code) * (1 - place)) - 1], REFUSE
        broken = bytearray(code)
        broken[at : at + 6] = b"\xff" * 6  # codes that mean nothing yet
        yield f"bad-codes-{place}.gif", gif((w, h), full, None, code=bytes(broken), global_table=colors), AS_PILLOW
    for bits in (9, 11, 12, 255):
        yield f"code-size-{bits}.gif", gif((w, h), full, None, code=code, global_table=colors)[: -len(blocks(code)) - 2] + bytes([bits]) + blocks(code) + b";", AS_PILLOW
    yield "frame-empty.gif", gif((w, h), (0, 0, 0, 0), pixels, global_table=colors), AS_PILLOW
    yield "frame-0-high.gif", gif((w, h), (0, 0, w, 0), pixels, global_table=colors), AS_PILLOW
    yield "table-cut.gif", gif((w, h), full, pixels, global_table=table(256))[:100], REFUSE
    yield "no-picture.gif", b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b";", REFUSE
