# SPDX-License-Identifier: Apache-2.0
"""Odd JPEG files that no encoder at hand writes: any sampling factors, scans of their own for each colour, a height that
comes behind the data, quantisation in 16 bits, damage at restart markers. Used by make_odd.py.

An encoder of our own, of coefficients that are drawn instead of transformed: what a decoder makes of them is a picture like
any other.
"""

import struct

import numpy as np

from make_corpus import picture
from verdict import AS_PILLOW, READ, REFUSE


# Huffman tables of the standard's annex K: lengths of the codes, then the symbols.
_DC = ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], list(range(12)))
_AC_LENGTHS = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D]
_AC_FIRST = bytes.fromhex(
    "0102030004110512213141061351610722711432818191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445"
    "464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7"
    "b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa")


def _codes(lengths, symbols):
    table, code, k = {}, 0, 0
    for size, count in enumerate(lengths, 1):
        for _ in range(count):
            table[symbols[k]] = (code, size)
            code, k = code + 1, k + 1
        code <<= 1
    return table


# The standard's list has 162 symbols; what is drawn needs those alone that _AC_FIRST names once.
_AC = list(dict.fromkeys(_AC_FIRST))
_AC_COUNT = list(_AC_LENGTHS)
_AC_COUNT[15] = len(_AC) - sum(_AC_LENGTHS[:15])
_DC_CODES, _AC_CODES = _codes(*_DC), _codes(_AC_COUNT, _AC)


class Bits:
    def __init__(self):
        self.value, self.count, self.out = 0, 0, bytearray()

    def put(self, value, size):
        self.value, self.count = self.value << size | value, self.count + size
        while self.count >= 8:
            self.count -= 8
            byte = self.value >> self.count & 255
            self.out.append(byte)
            if byte == 255:
                self.out.append(0)
        self.value &= (1 << self.count) - 1

    def signed(self, value, size):
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def finish(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)
        out, self.out = bytes(self.out), bytearray()
        return out


def _block(bits, dc, ac, before):
    """One block: the difference of its DC, and AC values in zigzag order."""
    delta = dc - before
    size = abs(delta).bit_length()
    bits.put(*_DC_CODES[size])
    if size:
        bits.signed(delta, size)
    run = 0
    for value in ac:
        if value == 0:
            run += 1
            continue
        while run > 15:
            bits.put(*_AC_CODES[0xF0])
            run -= 16
        size = abs(int(value)).bit_length()
        bits.put(*_AC_CODES[run << 4 | size])
        bits.signed(int(value), size)
        run = 0
    if run:
        bits.put(*_AC_CODES[0])


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


def _tables(wide):
    steps = np.clip(np.arange(64) // 2 + 3, 1, 255)
    quant = b"\x10" + steps.astype(">u2").tobytes() if wide else b"\0" + steps.astype(np.uint8).tobytes()
    return (segment(0xDB, quant) + segment(0xC4, b"\0" + bytes(_DC[0]) + bytes(_DC[1]))
            + segment(0xC4, b"\x10" + bytes(_AC_COUNT) + bytes(_AC)))


def jpeg(width, height, factors, *, seed=1, restart=0, apart=False, dnl=False, wide=False, precision=8, frame=0xC0, extra=b"",
         ids=None):
    """A file of len(factors) colours, each with (across, down). Returns (bytes, [intervals of the first scan])."""
    rng = np.random.default_rng(seed)
    most_h, most_v = max(h for h, _ in factors), max(v for _, v in factors)
    ids = ids or list(range(1, len(factors) + 1))
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    blocks = []
    for h, v in factors:
        shape = (down * v, across * h)
        dc = np.clip(rng.normal(0, 90, shape).cumsum(1) % 300 - 150, -150, 150).astype(int)
        ac = np.where(rng.random(shape + (63,)) < 0.06, rng.integers(-7, 8, shape + (63,)), 0)
        ac[..., 20:] = 0
        blocks.append((dc, ac))

    def scan(chosen):
        bits, before, parts = Bits(), [0] * len(factors), []
        if len(chosen) == 1:  # a scan of one colour has no blocks beyond its own edge
            c = chosen[0]
            h, v = factors[c]
            columns, rows = -(-width * h // (8 * most_h)), -(-height * v // (8 * most_v))
            units = [[(c, y, x)] for y in range(rows) for x in range(columns)]
        else:
            units = [[(c, my * factors[c][1] + y, mx * factors[c][0] + x) for c in chosen
                      for y in range(factors[c][1]) for x in range(factors[c][0])]
                     for my in range(down) for mx in range(across)]
        for i, unit in enumerate(units):
            if restart and i and i % restart == 0:
                parts.append(bits.finish())
                before = [0] * len(factors)
            for c, y, x in unit:
                dc, ac = blocks[c]
                _block(bits, int(dc[y, x]), ac[y, x], before[c])
                before[c] = int(dc[y, x])
        parts.append(bits.finish())
        head = bytes([len(chosen)]) + b"".join(bytes([ids[c], 0]) for c in chosen) + b"\0\x3f\0"
        return segment(0xDA, head), parts

    body = struct.pack(">BHHB", precision, 0 if dnl else height, width, len(factors))
    body += b"".join(bytes([i, h << 4 | v, 0]) for i, (h, v) in zip(ids, factors))
    out = b"\xff\xd8" + extra + _tables(wide) + segment(frame, body)
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    scans = [[c] for c in range(len(factors))] if apart else [list(range(len(factors)))]
    first = None
    for chosen in scans:
        head, parts = scan(chosen)
        first = first or (out + head, parts)
        out += head + join(parts)
        if dnl and chosen == scans[0]:
            out += segment(0xDC, struct.pack(">H", height))
    return out + b"\xff\xd9", first


def join(parts, first=0):
    return b"".join(part + (bytes([0xFF, 0xD0 + (first + i) % 8]) if i + 1 < len(parts) else b"") for i, part in enumerate(parts))


_DIFFERENCES = ([0, 1, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], list(range(17)))


def lossless(samples, *, predictor=1, shift=0, restart_rows=0, precision=8, ids=None, extra=b"", factors=0x11, apart=False):
    """A file of lossless coding: samples [height, width, colours] of `precision` bits, of which `shift` are left out."""
    height, width, colors = samples.shape
    kept = samples.astype(int) >> shift
    codes = _codes(*_DIFFERENCES)
    ids = ids or list(range(1, colors + 1))

    def scan(chosen):
        bits, parts = Bits(), []
        for y in range(height):
            first = y == 0 or (restart_rows and y % restart_rows == 0)
            if first and y:
                parts.append(bits.finish())
            for x in range(width):
                for c in chosen:
                    left, above, corner = (int(kept[y, x - 1, c]), int(kept[y - 1, x, c]), int(kept[y - 1, x - 1, c]))
                    if first:
                        guess = left if x else 1 << (precision - shift - 1)
                    elif x == 0:
                        guess = above
                    else:
                        guess = [0, left, above, corner, left + above - corner, left + ((above - corner) >> 1), above + ((left - corner) >> 1),
                                 (left + above) >> 1][predictor]
                    difference = int(kept[y, x, c]) - guess
                    size = abs(difference).bit_length()
                    bits.put(*codes[size])
                    if size:
                        bits.signed(difference, size)
        parts.append(bits.finish())
        return segment(0xDA, bytes([len(chosen)]) + b"".join(bytes([ids[c], 0]) for c in chosen) + bytes([predictor, 0, shift])) + join(parts)

    frame = struct.pack(">BHHB", precision, height, width, colors) + b"".join(bytes([i, factors, 0]) for i in ids)
    out = b"\xff\xd8" + extra + segment(0xC4, b"\0" + bytes(_DIFFERENCES[0]) + bytes(_DIFFERENCES[1])) + segment(0xC3, frame)
    if restart_rows:
        out += segment(0xDD, struct.pack(">H", restart_rows * width))
    scans = [[c] for c in range(colors)] if apart else [list(range(colors))]
    return out + b"".join(scan(chosen) for chosen in scans) + b"\xff\xd9"


ADOBE = {kind: segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, kind)) for kind in (0, 1, 2)}
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def exif(orientation, order="<"):
    body = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 1)
    body += struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    return segment(0xE1, b"Exif\0\0" + body)


def odd_jpegs():
    """(name, bytes, right) of each file."""
    three = {
        "11": [(1, 1)] * 3, "21": [(2, 1), (1, 1), (1, 1)], "12": [(1, 2), (1, 1), (1, 1)], "22": [(2, 2), (1, 1), (1, 1)],
        "41": [(4, 1), (1, 1), (1, 1)], "14": [(1, 4), (1, 1), (1, 1)], "42": [(4, 2), (1, 1), (1, 1)], "24": [(2, 4), (1, 1), (1, 1)],
        "42-21": [(4, 2), (2, 1), (2, 1)], "22-all": [(2, 2)] * 3, "22-21": [(2, 2), (2, 1), (2, 1)], "22-12": [(2, 2), (1, 2), (1, 2)],
        "22-uneven": [(2, 2), (2, 1), (1, 2)], "21-uneven": [(2, 1), (1, 1), (2, 1)], "11-21": [(1, 1), (2, 1), (2, 1)],
        "11-22": [(1, 1), (2, 2), (2, 2)], "12-21": [(1, 2), (2, 1), (2, 1)], "31": [(3, 1), (1, 1), (1, 1)], "13": [(1, 3), (1, 1), (1, 1)],
        "33": [(3, 3), (1, 1), (1, 1)], "32": [(3, 2), (1, 1), (1, 1)], "31-21": [(3, 1), (2, 1), (1, 1)],
    }
    for i, (name, factors) in enumerate(three.items()):
        for width, height in ((97, 61), (160, 128), (8, 8), (17, 1), (1, 33)):
            data, _ = jpeg(width, height, factors, seed=i)
            yield f"sampling-{name}-{width}x{height}.jpg", data, AS_PILLOW if name in ("22-all", "33", "31-21", "42-21") else READ
        data, _ = jpeg(97, 61, factors, seed=i, apart=True)
        yield f"sampling-{name}-apart.jpg", data, AS_PILLOW if name == "31-21" else READ
    for name, factors in (("grey-22", [(2, 2)]), ("grey-41", [(4, 1)]), ("grey-13", [(1, 3)]), ("cmyk-22", [(2, 2), (1, 1), (1, 1), (2, 2)]),
                          ("cmyk-21", [(2, 1), (1, 1), (1, 1), (2, 1)]), ("cmyk-last-small", [(2, 2), (2, 2), (2, 2), (1, 1)])):
        for width, height in ((97, 61), (16, 16)):
            yield f"sampling-{name}-{width}x{height}.jpg", jpeg(width, height, factors, seed=5)[0], AS_PILLOW if name == "cmyk-last-small" else READ
    for kind in (0, 2):
        yield f"cmyk-adobe-{kind}.jpg", jpeg(50, 40, [(1, 1)] * 4, extra=ADOBE[kind])[0], READ
        yield f"cmyk-adobe-{kind}-22.jpg", jpeg(50, 40, [(2, 2), (1, 1), (1, 1), (2, 2)], extra=ADOBE[kind])[0], READ
    for kind in (0, 1):
        yield f"adobe-{kind}.jpg", jpeg(50, 40, three["22"], extra=ADOBE[kind])[0], READ
        yield f"jfif-adobe-{kind}.jpg", jpeg(50, 40, three["22"], extra=JFIF + ADOBE[kind])[0], READ
        yield f"adobe-{kind}-jfif.jpg", jpeg(50, 40, three["22"], extra=ADOBE[kind] + JFIF)[0], READ
    yield "adobe-twice.jpg", jpeg(50, 40, three["22"], extra=ADOBE[0] + ADOBE[1])[0], READ
    yield "adobe-twice-other-way.jpg", jpeg(50, 40, three["22"], extra=ADOBE[1] + ADOBE[0])[0], READ
    yield "adobe-short.jpg", jpeg(50, 40, three["22"], extra=segment(0xEE, b"Adobe\0d\0"))[0], READ
    yield "adobe-long.jpg", jpeg(50, 40, three["22"], extra=segment(0xEE, ADOBE[0][4:] + bytes(30)))[0], READ
    yield "adobe-9.jpg", jpeg(50, 40, three["22"], extra=segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 9)))[0], READ
    yield "app14-other.jpg", jpeg(50, 40, three["22"], extra=segment(0xEE, b"Ducky\0\1\2\3\4\5\6"))[0], READ
    for name, ids in (("rgb", [82, 71, 66]), ("ycc-0", [0, 1, 2]), ("other", [7, 200, 3]), ("same-order", [3, 2, 1])):
        yield f"ids-{name}.jpg", jpeg(50, 40, three["11"], ids=ids)[0], READ
        yield f"ids-{name}-jfif.jpg", jpeg(50, 40, three["11"], ids=ids, extra=JFIF)[0], READ
    for orientation in (0, 3, 6, 9, 65535):
        for order in "<>":
            yield f"exif-{orientation}-{'ii' if order == '<' else 'mm'}.jpg", jpeg(50, 40, three["22"], extra=exif(orientation, order))[0], READ
    yield "exif-cut.jpg", jpeg(50, 40, three["22"], extra=segment(0xE1, b"Exif\0\0II*\0\x08"))[0], READ
    yield "exif-twice.jpg", jpeg(50, 40, three["22"], extra=exif(6) + exif(3))[0], READ
    yield "icc-cut.jpg", jpeg(50, 40, three["22"], extra=segment(0xE2, b"ICC_PROFILE\0\2\3abc"))[0], READ
    yield "jfif-thumbnail.jpg", jpeg(50, 40, three["22"], extra=segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\2\2" + bytes(12)))[0], READ
    yield "jfxx.jpg", jpeg(50, 40, three["22"], extra=JFIF + segment(0xE0, b"JFXX\0\x13" + bytes(20)))[0], READ
    yield "comments.jpg", jpeg(50, 40, three["22"], extra=segment(0xFE, b"x" * 65533) * 3)[0], READ
    yield "all-apps.jpg", jpeg(50, 40, three["22"], extra=b"".join(segment(0xE0 + i, bytes(range(i + 20))) for i in range(16)))[0], READ
    yield "reserved-segment.jpg", jpeg(50, 40, three["22"], extra=segment(0xF7, b"abc"))[0], AS_PILLOW
    yield "fill-before-segment.jpg", jpeg(50, 40, three["22"], extra=b"\xff\xff\xff" + JFIF)[0], READ
    yield "rubbish-before-segment.jpg", jpeg(50, 40, three["22"], extra=b"\1\2\3" + JFIF)[0], AS_PILLOW
    yield "wide-steps.jpg", jpeg(50, 40, three["22"], wide=True)[0], AS_PILLOW
    yield "wide-steps-extended.jpg", jpeg(50, 40, three["22"], wide=True, frame=0xC1)[0], READ
    yield "extended.jpg", jpeg(50, 40, three["22"], frame=0xC1)[0], READ
    yield "bits-12.jpg", jpeg(50, 40, three["22"], frame=0xC1, precision=12)[0], REFUSE
    yield "height-behind-data.jpg", jpeg(50, 40, three["11"], dnl=True)[0], AS_PILLOW
    for count in (2, 5):
        yield f"components-{count}.jpg", jpeg(50, 40, [(1, 1)] * count)[0], REFUSE if count == 2 else AS_PILLOW
    yield from lossless_jpegs()
    for name in ("11", "22", "21"):
        yield from damaged_restarts(name, three[name])
        yield from damaged_scans(name, three[name])


def lossless_jpegs():
    """Of the coding of which Pillow reads what needs no conversion of colours."""
    w, h = 37, 23
    for colors in (1, 3, 4):
        samples = picture(w, h, 3, colors)
        for predictor in range(1, 8):
            yield f"lossless-{colors}-{predictor}.jpg", lossless(samples, predictor=predictor), AS_PILLOW
            yield f"lossless-{colors}-{predictor}-restart.jpg", lossless(samples, predictor=predictor, restart_rows=4), AS_PILLOW
        for shift in (1, 3):
            yield f"lossless-{colors}-shift-{shift}.jpg", lossless(samples, shift=shift), AS_PILLOW
        yield f"lossless-{colors}-apart.jpg", lossless(samples, apart=True), AS_PILLOW
        yield f"lossless-{colors}-22.jpg", lossless(samples, factors=0x22), AS_PILLOW
        for name, extra in (("jfif", JFIF), ("adobe-0", ADOBE[0]), ("adobe-1", ADOBE[1]), ("adobe-2", ADOBE[2])):
            yield f"lossless-{colors}-{name}.jpg", lossless(samples, extra=extra), AS_PILLOW
        for precision in (2, 7, 12, 16):
            yield f"lossless-{colors}-bits-{precision}.jpg", lossless(samples >> max(0, 8 - precision), precision=precision), AS_PILLOW
        whole = lossless(samples, predictor=4)
        for part in (0.3, 0.7, 0.97):
            cut = whole[: int(len(whole) * part)].rstrip(b"\xff")
            yield f"lossless-{colors}-cut-{part}.jpg", cut, REFUSE
            yield f"lossless-{colors}-cut-{part}-with-end.jpg", cut + b"\xff\xd9", REFUSE
    yield "lossless-2.jpg", lossless(picture(w, h, 3, 2)), REFUSE
    yield "lossless-rgb-ids.jpg", lossless(picture(w, h, 3), ids=[82, 71, 66]), AS_PILLOW
    yield "lossless-other-ids.jpg", lossless(picture(w, h, 3), ids=[7, 8, 9]), AS_PILLOW


def damaged_restarts(name, factors):
    """Damage at each kind of place of a file with restart markers; each interval has 3 units."""
    data, (head, parts) = jpeg(130, 100, factors, seed=11, restart=3)
    end = b"\xff\xd9"
    for apart in (False, True):
        yield f"restart-{name}{'-apart' if apart else ''}.jpg", jpeg(97, 61, factors, seed=12, restart=4, apart=apart)[0], READ
    yield f"restart-1-{name}.jpg", jpeg(97, 61, factors, seed=12, restart=1)[0], READ
    yield f"restart-beyond-{name}.jpg", jpeg(97, 61, factors, seed=12, restart=60000)[0], READ
    middle = len(parts) // 2
    for place, i in (("first", 0), ("middle", middle), ("last", len(parts) - 1)):
        yield f"restart-{name}-lost-{place}.jpg", head + join(parts[:i] + parts[i + 1 :]) + end, REFUSE
        half = parts[i][: len(parts[i]) // 2].rstrip(b"\xff")
        yield f"restart-{name}-half-{place}.jpg", head + join(parts[:i] + [half] + parts[i + 1 :]) + end, REFUSE
        yield f"restart-{name}-empty-{place}.jpg", head + join(parts[:i] + [b""] + parts[i + 1 :]) + end, REFUSE
        if i + 1 < len(parts):
            more = parts[i] + b"\x12\x34\x56"
            yield f"restart-{name}-more-{place}.jpg", head + join(parts[:i] + [more] + parts[i + 1 :]) + end, READ
            yield f"restart-{name}-fill-{place}.jpg", head + join(parts[:i] + [parts[i] + b"\xff\xff"] + parts[i + 1 :]) + end, READ
    yield f"restart-{name}-doubled.jpg", head + join(parts[:middle] + [parts[middle]] + parts[middle:]) + end, AS_PILLOW
    yield f"restart-{name}-numbers-from-3.jpg", head + join(parts, 3) + end, AS_PILLOW
    yield f"restart-{name}-marker-at-end.jpg", head + join(parts) + b"\xff\xd5" + end, READ
    yield f"restart-{name}-marker-at-start.jpg", head + b"\xff\xd7" + join(parts) + end, REFUSE
    yield f"restart-{name}-no-markers.jpg", head + b"".join(parts) + end, REFUSE
    unannounced = head.replace(b"\xff\xdd\0\4\0\3", b"")
    yield f"restart-{name}-not-announced.jpg", unannounced + join(parts) + end, REFUSE
    comment = segment(0xFE, b"in the middle")
    yield f"restart-{name}-comment-between.jpg", head + join(parts[:middle]) + comment + join(parts[middle:]) + end, REFUSE


def damaged_scans(name, factors):
    data, (head, parts) = jpeg(97, 61, factors, seed=13)
    body, end = parts[0], b"\xff\xd9"
    for place, at in (("early", len(body) // 9), ("middle", len(body) // 2), ("late", len(body) - 9)):
        while body[at] == 255 or body[at - 1] == 255:
            at -= 1
        yield f"scan-{name}-marker-{place}.jpg", head + body[:at] + b"\xff\xd3" + body[at:] + end, REFUSE
        yield f"scan-{name}-end-{place}.jpg", head + body[:at] + end + body[at:] + end, REFUSE
        yield f"scan-{name}-segment-{place}.jpg", head + body[:at] + segment(0xFE, b"x") + body[at:] + end, REFUSE
        yield f"scan-{name}-start-{place}.jpg", head + body[:at] + b"\xff\xd8" + body[at:] + end, REFUSE
        yield f"scan-{name}-cut-{place}.jpg", head + body[:at], REFUSE
        yield f"scan-{name}-zeros-{place}.jpg", head + body[:at] + bytes(len(body) - at) + end, REFUSE
    apart, _ = jpeg(97, 61, factors, seed=13, apart=True)
    scans = [i for i in range(len(apart)) if apart[i : i + 2] == b"\xff\xda"]
    yield f"apart-{name}-two-of-three.jpg", apart[: scans[2]] + end, REFUSE
    yield f"apart-{name}-one-of-three.jpg", apart[: scans[1]] + end, REFUSE
    yield f"apart-{name}-two-twice.jpg", apart[: scans[2]] + apart[scans[1] :], READ
    yield f"apart-{name}-cut.jpg", apart[: scans[2] + (len(apart) - scans[2]) // 2], REFUSE
    yield f"apart-{name}-second-cut.jpg", apart[: scans[1] + (scans[2] - scans[1]) // 2] + apart[scans[2] :], REFUSE
    yield f"two-files-{name}.jpg", data + data, READ
    yield f"end-twice-{name}.jpg", data + end, READ
    yield f"no-tables-{name}.jpg", data[:2] + data[data.find(b"\xff\xc0") :], REFUSE
