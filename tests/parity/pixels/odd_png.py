# SPDX-License-Identifier: Apache-2.0
"""Odd PNG and WebP files: chunks in strange places and of strange contents, palettes too short or too long, streams that
zlib's own writer never makes, and damage at each kind of place. Used by make_odd.py."""

import struct
import zlib

import numpy as np
from PIL import Image

from make_corpus import ADAM7, picture, png_chunk, png_rows, rgb, saved
from verdict import AS_PILLOW, READ, REFUSE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = png_chunk(b"IEND", b"")


def raw_rows(samples, bits, interlace):
    if not interlace:
        return png_rows(samples, bits)
    return b"".join(png_rows(samples[y::dy, x::dx], bits) for x, y, dx, dy in ADAM7 if samples[y::dy, x::dx].size)


def header(width, height, bits, color, interlace=0, compression=0, filtering=0):
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, compression, filtering, interlace))


def bad_crc(chunk):
    return chunk[:-1] + bytes([chunk[-1] ^ 0x55])


def odd_pngs():
    w, h = 39, 27
    rng = np.random.default_rng(8)
    kinds = {}
    for bits in (1, 2, 4, 8, 16):
        kinds[f"grey{bits}"] = (rng.integers(0, 2**bits, (h, w, 1)), bits, 0)
    for bits in (1, 2, 4, 8):
        kinds[f"palette{bits}"] = (rng.integers(0, 2**bits, (h, w, 1)), bits, 3)
    for bits in (8, 16):
        kinds[f"rgb{bits}"] = (rng.integers(0, 2**bits, (h, w, 3)), bits, 2)
        kinds[f"grey-alpha{bits}"] = (rng.integers(0, 2**bits, (h, w, 2)), bits, 4)
        kinds[f"rgba{bits}"] = (rng.integers(0, 2**bits, (h, w, 4)), bits, 6)
    colors = rng.integers(0, 256, 768).astype(np.uint8).tobytes()
    for name, (samples, bits, color) in kinds.items():
        for interlace in (0, 1):
            tag = f"{name}{'-interlaced' if interlace else ''}"
            palette = png_chunk(b"PLTE", colors[: 3 * 2**bits]) if color == 3 else b""
            start = SIGNATURE + header(w, h, bits, color, interlace) + palette
            stream = zlib.compress(raw_rows(samples, bits, interlace), 9)

            def idats(data, size):
                return b"".join(png_chunk(b"IDAT", data[i : i + size]) for i in range(0, len(data), size))

            half = len(stream) // 2
            whole = start + png_chunk(b"IDAT", stream) + END
            yield f"{tag}.png", whole, READ
            yield f"{tag}-idats-of-1.png", start + idats(stream, 1) + END, READ
            yield f"{tag}-first-idat-crc.png", start + bad_crc(png_chunk(b"IDAT", stream[:half])) + png_chunk(b"IDAT", stream[half:]) + END, READ
            yield f"{tag}-all-crcs.png", start + bad_crc(png_chunk(b"IDAT", stream[:half])) + bad_crc(png_chunk(b"IDAT", stream[half:])) + END, READ
            for at in (0, 1):
                broken = bytearray(stream)
                broken[-1 - at] ^= 0x10
                yield f"{tag}-adler-{at}.png", start + png_chunk(b"IDAT", bytes(broken)) + END, REFUSE
                yield f"{tag}-adler-{at}-split.png", start + idats(bytes(broken), len(stream) - 2) + END, REFUSE
            yield f"{tag}-adler-in-own-idat.png", start + idats(stream, len(stream) - 4) + END, READ
            yield f"{tag}-adler-gone-with-idat.png", start + png_chunk(b"IDAT", stream[:-4]) + END, READ
            for part in (0.1, 0.5, 0.95):
                at = int(len(stream) * part)
                yield f"{tag}-cut-{part}.png", (start + png_chunk(b"IDAT", stream))[: len(start) + 8 + at], REFUSE
                yield f"{tag}-ends-{part}.png", start + png_chunk(b"IDAT", stream[:at]) + END, REFUSE
                yield f"{tag}-gap-{part}.png", start + png_chunk(b"IDAT", stream[:at]) + png_chunk(b"IDAT", stream[at + 9 :]) + END, REFUSE
                yield f"{tag}-gap-{part}-filled.png", start + png_chunk(b"IDAT", stream[:at] + bytes(9) + stream[at + 9 :]) + END, REFUSE
    # Chunks around the data; what is not about pixels may be anything.
    samples, _, _ = kinds["rgb8"]
    stream = zlib.compress(raw_rows(samples, 8, 0))
    start, data = SIGNATURE + header(w, h, 8, 2), png_chunk(b"IDAT", stream)
    ancillary = {
        "gamma": png_chunk(b"gAMA", struct.pack(">I", 22000)), "gamma-0": png_chunk(b"gAMA", bytes(4)), "gamma-short": png_chunk(b"gAMA", b"\0"),
        "chrm": png_chunk(b"cHRM", struct.pack(">8I", *range(31270, 31278))), "srgb-9": png_chunk(b"sRGB", b"\x09"), "iccp": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"junk")),
        "iccp-broken": png_chunk(b"iCCP", b"x\0\0junk"), "sbit": png_chunk(b"sBIT", b"\1\2\3"), "sbit-0": png_chunk(b"sBIT", b"\0\0\0"), "phys": png_chunk(b"pHYs", struct.pack(">IIB", 1, 9, 1)),
        "phys-short": png_chunk(b"pHYs", b"\0\0"), "time": png_chunk(b"tIME", bytes(7)), "text": png_chunk(b"tEXt", b"a\0b"), "text-no-zero": png_chunk(b"tEXt", b"abc"),
        "ztxt": png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"hello")), "ztxt-broken": png_chunk(b"zTXt", b"a\0\0junk"), "itxt": png_chunk(b"iTXt", b"a\0\0\0\0\0b"),
        "itxt-broken": png_chunk(b"iTXt", b"a\0\1"), "exif": png_chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"), "exif-junk": png_chunk(b"eXIf", b"junk"),
        "hist": png_chunk(b"hIST", bytes(512)), "splt": png_chunk(b"sPLT", b"x\0\x08" + bytes(12)), "back": png_chunk(b"bKGD", bytes(6)), "back-short": png_chunk(b"bKGD", b"\1"),
        "cicp": png_chunk(b"cICP", b"\x09\x10\0\1"), "mdcv": png_chunk(b"mDCv", bytes(24)), "private": png_chunk(b"prVt", bytes(9)), "empty": png_chunk(b"emPt", b""),
        "key": png_chunk(b"tRNS", struct.pack(">HHH", *samples[3, 3])), "key-short": png_chunk(b"tRNS", b"\0\1"), "key-long": png_chunk(b"tRNS", bytes(50)),
        "palette": png_chunk(b"PLTE", colors), "palette-odd": png_chunk(b"PLTE", colors[:10]), "actl": png_chunk(b"acTL", struct.pack(">II", 1, 0)),
        "actl-0": png_chunk(b"acTL", bytes(8)), "fctl": png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, w, h, 0, 0, 1, 9, 0, 0)),
    }
    for name, chunk in ancillary.items():
        yield f"with-{name}.png", start + chunk + data + END, AS_PILLOW if "short" in name or "broken" in name or "no-zero" in name or name in ("key-long", "palette-odd") else READ
        yield f"with-{name}-wrong-crc.png", start + bad_crc(chunk) + data + END, AS_PILLOW
        yield f"with-{name}-twice.png", start + chunk + chunk + data + END, AS_PILLOW
        yield f"with-{name}-behind.png", start + data + chunk + END, AS_PILLOW
        split = png_chunk(b"IDAT", stream[:50]) + chunk + png_chunk(b"IDAT", stream[50:])
        yield f"with-{name}-between.png", start + split + END, AS_PILLOW
    yield "critical-unknown.png", start + png_chunk(b"ABCD", b"x") + data + END, AS_PILLOW
    yield "header-twice.png", start + header(w, h, 8, 2) + data + END, AS_PILLOW
    yield "header-late.png", SIGNATURE + png_chunk(b"tEXt", b"a\0b") + header(w, h, 8, 2) + data + END, AS_PILLOW
    yield "header-long.png", SIGNATURE + png_chunk(b"IHDR", header(w, h, 8, 2)[8:21] + b"\0") + data + END, AS_PILLOW
    for field, values in (("compression", (1, 8)), ("filtering", (1, 64)), ("interlace", (2, 7))):
        for value in values:
            yield f"{field}-{value}.png", SIGNATURE + header(w, h, 8, 2, **{field: value}) + data + END, AS_PILLOW
    for color, bits in ((0, 3), (2, 4), (3, 16), (4, 4), (6, 1), (1, 8), (5, 8), (7, 8)):
        yield f"depth-{bits}-of-{color}.png", SIGNATURE + header(w, h, bits, color) + data + END, REFUSE
    for size in ((0, 5), (5, 0)):
        yield f"size-{size[0]}x{size[1]}.png", SIGNATURE + header(*size, 8, 2) + data + END, REFUSE
    yield "end-first.png", start + END + data, REFUSE
    yield "end-between.png", start + png_chunk(b"IDAT", stream[: len(stream) // 2]) + END + png_chunk(b"IDAT", stream[len(stream) // 2 :]), REFUSE
    yield "end-long.png", start + data + png_chunk(b"IEND", b"xyz"), READ
    yield "end-crc.png", start + data + bad_crc(END), READ
    yield "two-files.png", (start + data + END) * 2, READ
    yield "palette-behind.png", SIGNATURE + header(w, h, 8, 3) + png_chunk(b"IDAT", zlib.compress(raw_rows(samples[:, :, :1], 8, 0))) + png_chunk(b"PLTE", colors) + END, AS_PILLOW
    # Streams.
    raw = raw_rows(samples, 8, 0)
    for level in (0, 1, 9):
        for wbits in (9, 12, 15):
            for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED):
                packer = zlib.compressobj(level, zlib.DEFLATED, wbits, 9, strategy)
                yield f"stream-{level}-{wbits}-{strategy}.png", start + png_chunk(b"IDAT", packer.compress(raw) + packer.flush()) + END, READ
    packer = zlib.compressobj(6)
    flushed = b"".join(packer.compress(raw[i : i + 100]) + packer.flush(zlib.Z_FULL_FLUSH) for i in range(0, len(raw), 100)) + packer.flush()
    yield "stream-flushed.png", start + png_chunk(b"IDAT", flushed) + END, READ
    yield "stream-unfinished.png", start + png_chunk(b"IDAT", flushed[:-6]) + END, READ
    yield "stream-header-check.png", start + png_chunk(b"IDAT", bytes([stream[0], stream[1] ^ 1]) + stream[2:]) + END, AS_PILLOW
    yield "stream-dictionary.png", start + png_chunk(b"IDAT", bytes([0x78, 0xBB]) + bytes(4) + stream[2:]) + END, REFUSE
    yield "stream-method.png", start + png_chunk(b"IDAT", bytes([0x79]) + stream[1:]) + END, REFUSE
    yield "stream-gzip.png", start + png_chunk(b"IDAT", zlib.compressobj(6, zlib.DEFLATED, 31).compress(raw)) + END, REFUSE
    yield "stream-two.png", start + png_chunk(b"IDAT", zlib.compress(raw[: len(raw) // 2]) + zlib.compress(raw[len(raw) // 2 :])) + END, REFUSE
    yield "stream-empty.png", start + png_chunk(b"IDAT", zlib.compress(b"")) + END, REFUSE
    yield "no-data.png", start + END, REFUSE
    for row in (0, h // 2, h - 1):
        broken = bytearray(raw)
        broken[row * (3 * w + 1)] = 5
        yield f"filter-5-row-{row}.png", start + png_chunk(b"IDAT", zlib.compress(bytes(broken))) + END, REFUSE
    # Palettes.
    index = kinds["palette8"][0]
    data8 = png_chunk(b"IDAT", zlib.compress(raw_rows(index, 8, 0)))
    for count in (1, 2, 17, 255, 256, 257, 300):
        many = (colors * 2)[: 3 * count]
        for keys in dict.fromkeys((None, 0, 1, count // 2, count, 256, 300)):
            chunk = b"" if keys is None else png_chunk(b"tRNS", bytes(i * 7 % 256 for i in range(keys)))
            yield f"palette-{count}-alpha-{keys}.png", SIGNATURE + header(w, h, 8, 3) + png_chunk(b"PLTE", many) + chunk + data8 + END, AS_PILLOW
    for bits in (1, 2, 4):
        small = kinds[f"palette{bits}"][0]
        body = png_chunk(b"IDAT", zlib.compress(raw_rows(small, bits, 0)))
        for count in (1, 2, 3, 16, 256):
            yield f"palette{bits}-of-{count}.png", SIGNATURE + header(w, h, bits, 3) + png_chunk(b"PLTE", colors[: 3 * count]) + body + END, READ
            keyed = png_chunk(b"PLTE", colors[: 3 * count]) + png_chunk(b"tRNS", b"\0")
            yield f"palette{bits}-of-{count}-key.png", SIGNATURE + header(w, h, bits, 3) + keyed + body + END, READ
    for name in ("grey1", "grey2", "grey4", "grey8", "grey16"):
        samples, bits, color = kinds[name]
        for key in dict.fromkeys((0, 1, int(samples[2, 2, 0]), 2**bits, 65535)):
            for interlace in (0, 1):
                body = png_chunk(b"IDAT", zlib.compress(raw_rows(samples, bits, interlace)))
                yield f"{name}-key-{key}-{interlace}.png", SIGNATURE + header(w, h, bits, color, interlace) + png_chunk(b"tRNS", struct.pack(">H", key & 65535)) + body + END, READ
    for width in range(1, 10):
        for height in (1, 2, 3, 5, 8, 9):
            small = rng.integers(0, 256, (height, width, 3))
            yield f"adam7-{width}x{height}.png", SIGNATURE + header(width, height, 8, 2, 1) + png_chunk(b"IDAT", zlib.compress(raw_rows(small, 8, 1))) + END, READ
    # APNG: the first picture is that of IDAT, whether it belongs to the animation or not.
    frame = struct.pack(">IIIIIHHBB", 1, 20, 10, 3, 4, 1, 9, 1, 1)
    more = png_chunk(b"fcTL", frame) + png_chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(raw_rows(rng.integers(0, 256, (10, 20, 3)), 8, 0)))
    rest = data + more + END
    for name, chunks in (("default", b""), ("first", png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, w, h, 0, 0, 1, 9, 0, 0)))):
        whole = start + png_chunk(b"acTL", struct.pack(">II", 2, 0)) + chunks + rest
        yield f"apng-{name}.png", whole, READ
        yield f"apng-{name}-cut.png", whole[:-60], READ
        yield f"apng-{name}-wrong-sequence.png", whole.replace(b"fdAT\0\0\0\2", b"fdAT\0\0\0\7"), AS_PILLOW


# ---- WebP ----


def riff(*chunks):
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(kind, body):
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def pieces(data):
    """The chunks of a WebP, by name."""
    at, found = 12, {}
    while at + 8 <= len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        found.setdefault(data[at : at + 4], data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def vp8x(width, height, flags=0):
    return chunk(b"VP8X", struct.pack("<I", flags) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3])


def odd_webps():
    w, h = 45, 33
    four = Image.fromarray(picture(w, h, 4, 4), "RGBA")
    bare = {"lossy": saved(rgb(w, h, 1), "WEBP", quality=70), "lossless": saved(rgb(w, h, 2), "WEBP", lossless=True)}
    alpha = {"lossy": saved(four, "WEBP", quality=70), "lossless": saved(four, "WEBP", lossless=True, exact=True)}
    for name, data in bare.items():
        kind = b"VP8 " if name == "lossy" else b"VP8L"
        body = pieces(data)[kind]
        still = chunk(kind, body)
        yield f"{name}-extended.webp", riff(vp8x(w, h), still), READ
        yield f"{name}-icc.webp", riff(vp8x(w, h, 0x20), chunk(b"ICCP", b"junk"), still), READ
        yield f"{name}-exif-junk.webp", riff(vp8x(w, h, 8), still, chunk(b"EXIF", b"junk")), READ
        yield f"{name}-xmp.webp", riff(vp8x(w, h, 4), still, chunk(b"XMP ", b"<x/>")), READ
        yield f"{name}-unknown-before.webp", riff(vp8x(w, h), chunk(b"abcd", b"odd"), still), READ
        yield f"{name}-unknown-behind.webp", riff(still, chunk(b"abcd", b"odd")), READ
        yield f"{name}-flags-of-all.webp", riff(vp8x(w, h, 0x2C), still), READ
        yield f"{name}-alpha-flag.webp", riff(vp8x(w, h, 0x10), still), READ
        yield f"{name}-size-contradicts.webp", riff(vp8x(w + 1, h), still), AS_PILLOW
        yield f"{name}-twice.webp", riff(vp8x(w, h), still, still), AS_PILLOW
        yield f"{name}-riff-too-long.webp", data[:4] + struct.pack("<I", len(data) + 50) + data[8:], AS_PILLOW
        yield f"{name}-riff-too-short.webp", data[:4] + struct.pack("<I", 20) + data[8:], AS_PILLOW
        yield f"{name}-riff-0.webp", data[:4] + bytes(4) + data[8:], AS_PILLOW
        yield f"{name}-length-too-long.webp", data[:16] + struct.pack("<I", len(body) + 9) + data[20:], AS_PILLOW
        for part in (0.2, 0.6, 0.95):
            cut = int(len(body) * part)
            yield f"{name}-body-{part}.webp", riff(chunk(kind, body[:cut])), REFUSE
            yield f"{name}-extended-body-{part}.webp", riff(vp8x(w, h), chunk(kind, body[:cut])), REFUSE
            yield f"{name}-extended-cut-{part}.webp", riff(vp8x(w, h), still)[: 12 + 18 + 8 + cut], REFUSE
        for x, y, fw, fh in ((0, 0, w, h), (6, 4, w, h), (2, 0, w, h)):
            for flags in range(4):
                anmf = chunk(b"ANMF", b"".join(struct.pack("<I", v)[:3] for v in (x // 2, y // 2, w - 1, h - 1, 100)) + bytes([flags]) + still)
                for background in (0, 0xFF00FF00):
                    file = riff(vp8x(x + fw, y + fh, 2), chunk(b"ANIM", struct.pack("<IH", background, 0)), anmf, anmf)
                    yield f"{name}-animated-{x}-{y}-{flags}-{background:x}.webp", file, READ
        anmf = chunk(b"ANMF", b"".join(struct.pack("<I", v)[:3] for v in (0, 0, w - 1, h - 1, 100)) + b"\0" + still)
        yield f"{name}-animated-no-anim.webp", riff(vp8x(w, h, 2), anmf), AS_PILLOW
        yield f"{name}-animated-no-flag.webp", riff(vp8x(w, h, 0), chunk(b"ANIM", bytes(6)), anmf), AS_PILLOW
        yield f"{name}-animated-flag-still.webp", riff(vp8x(w, h, 2), still), AS_PILLOW
        yield f"{name}-animated-outside.webp", riff(vp8x(w - 2, h, 2), chunk(b"ANIM", bytes(6)), anmf), AS_PILLOW
        yield f"{name}-animated-cut.webp", riff(vp8x(w, h, 2), chunk(b"ANIM", bytes(6)), anmf)[:-40], REFUSE
    parts = pieces(alpha["lossy"])
    yield "alpha-lossy.webp", alpha["lossy"], READ
    yield "alpha-lossless.webp", alpha["lossless"], READ
    yield "alpha-behind.webp", riff(vp8x(w, h, 0x10), chunk(b"VP8 ", parts[b"VP8 "]), chunk(b"ALPH", parts[b"ALPH"])), AS_PILLOW
    yield "alpha-no-flag.webp", riff(vp8x(w, h, 0), chunk(b"ALPH", parts[b"ALPH"]), chunk(b"VP8 ", parts[b"VP8 "])), READ
    # Alpha is dropped: that of these files is damaged, their pixels are not.
    yield "alpha-cut.webp", riff(vp8x(w, h, 0x10), chunk(b"ALPH", parts[b"ALPH"][:9]), chunk(b"VP8 ", parts[b"VP8 "])), AS_PILLOW
    yield "alpha-empty.webp", riff(vp8x(w, h, 0x10), chunk(b"ALPH", b""), chunk(b"VP8 ", parts[b"VP8 "])), AS_PILLOW
    for options in ({"method": 6, "quality": 3}, {"method": 0, "quality": 100}, {"lossless": True, "method": 6, "quality": 100}, {"near_lossless": 20, "lossless": True}):
        for width, height in ((1, 1), (2, 3), (16, 16), (17, 33), (300, 2), (3, 300)):
            tag = "-".join(f"{k}{v}" for k, v in options.items() if k != "near_lossless")
            yield f"saved-{tag}-{width}x{height}.webp", saved(rgb(width, height, 3), "WEBP", **{k: v for k, v in options.items() if k != "near_lossless"}), READ
