# SPDX-License-Identifier: Apache-2.0
"""Draws damaged image files of every coding, each with what is right: READ (every pixel is there) or REFUSE (pixels are
missing, or a checksum over them is wrong).

Called by test_damage.py; by hand: python make_damage.py FOLDER. Arithmetic coding, which Pillow does not write, comes from
the program arithmetic_jpeg.
"""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from make_corpus import picture, png, png_chunk, png_rows, rgb  # noqa: E402

READ, REFUSE = "read", "refuse"
# Read where Pillow reads it; where it does not, either is right.
AS_PILLOW = "as Pillow"


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# ---- JPEG ----


def markers(data):
    """(position, marker) of every marker behind the first scan header, and of all segments before it."""
    at, found, coded = 2, [], False
    while at + 1 < len(data):
        if data[at] != 0xFF or data[at + 1] in (0, 0xFF):
            at += 1
            continue
        marker = data[at + 1]
        found.append((at, marker))
        restart = 0xD0 <= marker <= 0xD7
        coded = coded and restart or marker == 0xDA
        if marker == 0xD9:
            break
        at += 2 if restart else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return found


def cut_at(data, at):
    while data[at] == 0xFF or data[at - 1] == 0xFF:
        at += 1
    return data[:at]


def scan_start(data, which=0):
    scans = [at for at, marker in markers(data) if marker == 0xDA]
    at = scans[which]
    return at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def arithmetic(data, progressive):
    """`data` with arithmetic coding."""
    build = Path(os.environ.get("EMBEDD_BUILD_DIR", "build/dev"))
    program = Path(__file__).parents[3] / build / "bin" / "arithmetic_jpeg"
    arguments = [program] + (["progressive"] if progressive else [])
    return subprocess.run(arguments, input=data, check=True, capture_output=True).stdout


def jpegs():
    w, h = 96, 72
    cmyk = Image.fromarray(picture(w, h, 9, 4), "CMYK")
    kinds = {}
    for tag, image in (("colour", rgb(w, h, 5)), ("grey", rgb(w, h, 5).convert("L")), ("cmyk", cmyk), ("odd", rgb(83, 61, 6))):
        for coding, options in (("baseline", {}), ("progressive", {"progressive": True}), ("restart", {"restart_marker_blocks": 4})):
            kinds[f"{tag}-{coding}"] = saved(image, "JPEG", quality=90, **options)
    kinds["444"] = saved(rgb(w, h, 7), "JPEG", quality=90, subsampling=0)
    kinds["progressive-restart"] = saved(rgb(w, h, 7), "JPEG", quality=80, progressive=True, restart_marker_blocks=3)
    data = kinds["cmyk-baseline"]
    at = data.find(b"Adobe")
    kinds["ycck"] = data[: at + 11] + b"\x02" + data[at + 12 :]
    for base in ("colour-baseline", "cmyk-baseline", "grey-baseline", "odd-baseline"):
        for progressive in (False, True):
            kinds[f"{base}-arithmetic{'-progressive' if progressive else ''}"] = arithmetic(kinds[base], progressive)
    kinds["restart-arithmetic"] = arithmetic(kinds["colour-restart"], False)
    flat = np.full((72, 96, 3), 200, np.uint8)
    flat[:20] = picture(96, 20, 3)
    kinds["flat-below-arithmetic"] = arithmetic(saved(Image.fromarray(flat), "JPEG", quality=90), False)
    kinds["flat-arithmetic"] = arithmetic(saved(Image.new("RGB", (200, 150), "orange"), "JPEG"), False)
    return kinds


def damaged_jpegs():
    for name, data in jpegs().items():
        end = data.rfind(b"\xff\xd9")
        start = scan_start(data)
        yield f"{name}-whole.jpg", data, READ
        yield f"{name}-no-end.jpg", data[:end], READ
        yield f"{name}-more-behind.jpg", data + b"rubbish" * 9, READ
        for part in (0.02, 0.3, 0.5, 0.8) if "flat" not in name else (0.1, 0.3):
            cut = cut_at(data, start + int((end - start) * part))
            yield f"{name}-cut-{part}.jpg", cut, REFUSE
            yield f"{name}-cut-{part}-with-end.jpg", cut + b"\xff\xd9", REFUSE
        found = markers(data)
        scans = [at for at, marker in found if marker == 0xDA]
        if len(scans) > 2:
            for k in (1, len(scans) // 2, len(scans) - 1):
                # in front of the tables of scan k
                before = next(at for at, marker in found if at > scans[k - 1] and not 0xD0 <= marker <= 0xD7)
                yield f"{name}-{k}-scans.jpg", data[:before] + b"\xff\xd9", REFUSE
        restarts = [at for at, marker in found if 0xD0 <= marker <= 0xD7]
        if len(restarts) > 9 and "progressive" not in name:
            at = restarts[3]
            number = data[at + 1] & 7
            for ahead in range(1, 8):
                changed = bytearray(data)
                changed[at + 1] = 0xD0 | (number + ahead) & 7
                # By these distances the library goes on; by the others it gives an interval up.
                yield f"{name}-restart-{ahead}.jpg", bytes(changed), READ if 3 <= ahead <= 5 else REFUSE
            yield f"{name}-lost-interval.jpg", data[:at] + data[restarts[4] :], REFUSE
            yield f"{name}-lost-8.jpg", data[:at] + data[restarts[3] + (restarts[11] - at) :] if len(restarts) > 12 else data[:at], REFUSE
            yield f"{name}-lost-4.jpg", data[:at] + data[restarts[7] :], REFUSE
            yield f"{name}-no-marker.jpg", data[:at] + data[at + 2 :], REFUSE
            # The library takes the second for the end of an empty interval.
            yield f"{name}-marker-twice.jpg", data[:at] + data[at : at + 2] + data[at:], REFUSE
        yield f"{name}-bytes-before-marker.jpg", data[:end] + b"\0\0\0" + data[end:], READ
        yield f"{name}-fill-bytes.jpg", data[:end] + b"\xff\xff" + data[end:], READ


def two_components():
    grey = saved(rgb(64, 48, 5).convert("L"), "JPEG")
    frame = grey.find(b"\xff\xc0")
    length = struct.unpack(">H", grey[frame + 2 : frame + 4])[0]
    body = grey[frame + 4 : frame + 2 + length]
    two = b"\xff\xc0" + struct.pack(">H", length + 3) + body[:5] + bytes([2, 1, 0x11, 0, 2, 0x11, 0])
    rest = grey[frame + 2 + length :]
    s = rest.find(b"\xff\xda")
    first = rest[s:-2]
    return grey[:frame] + two + rest[:s] + first + first[:5] + bytes([2]) + first[6:] + b"\xff\xd9"


# ---- PNG ----


def damaged_pngs():
    signature = b"\x89PNG\r\n\x1a\n"
    kinds = {
        "rgb": (picture(64, 48, 1), 2, 8, False, b""),
        "rgba": (picture(64, 48, 2, 4), 6, 8, False, b""),
        "grey": (picture(64, 48, 3, 1), 0, 8, False, b""),
        "grey16": (picture(64, 48, 3, 1).astype(np.uint16) * 3, 0, 16, False, b""),
        "grey1": (picture(67, 48, 3, 1) >> 7, 0, 1, False, b""),
        "interlaced": (picture(61, 45, 4), 2, 8, True, b""),
        "palette": (picture(64, 48, 5, 1) >> 4, 3, 4, False, png_chunk(b"PLTE", bytes(range(48)))),
    }
    for name, (samples, color, bits, interlace, extra) in kinds.items():
        whole = png(samples, color, bits, interlace, [(b"PLTE", bytes(range(48)))] if extra else ())
        at = whole.find(b"IDAT") - 4
        length = struct.unpack(">I", whole[at : at + 4])[0]
        head, stream = whole[:at], whole[at + 8 : at + 8 + length]
        raw = zlib.decompress(stream)
        end = png_chunk(b"IEND", b"")

        def idat(body, crc=None, claimed=None):
            kind = b"IDAT"
            crc = struct.pack(">I", zlib.crc32(kind + body)) if crc is None else crc
            return struct.pack(">I", len(body) if claimed is None else claimed) + kind + body + crc

        bad = struct.pack(">I", 0x12345678)
        third = len(stream) // 3
        wrong_adler = stream[:-1] + bytes([stream[-1] ^ 1])
        yield f"{name}-whole.png", whole, READ
        yield f"{name}-crc.png", head + idat(stream, bad) + end, READ
        yield f"{name}-adler.png", head + idat(wrong_adler) + end, REFUSE
        yield f"{name}-adler-and-crc.png", head + idat(wrong_adler, bad) + end, REFUSE
        yield f"{name}-no-adler.png", head + idat(stream[:-4]) + end, READ
        yield f"{name}-half-adler.png", head + idat(stream[:-2]) + end, READ
        yield f"{name}-no-adler-wrong-crc.png", head + idat(stream[:-4], bad) + end, REFUSE
        yield f"{name}-no-iend.png", head + idat(stream), READ
        for cut in range(1, 5):
            yield f"{name}-cut-crc-{cut}.png", (head + idat(stream))[:-cut], READ
        yield f"{name}-cut-adler.png", (head + idat(stream))[:-6], READ
        yield f"{name}-cut-half.png", (head + idat(stream))[: len(head) + 8 + len(stream) // 2], REFUSE
        yield f"{name}-cut-near-end.png", head + idat(stream[:-14]) + end, REFUSE
        yield f"{name}-long-length.png", head + idat(stream, claimed=len(stream) + 12) + end, READ
        yield f"{name}-huge-length.png", head + idat(stream, claimed=0x7FFFFFFF) + end, READ
        yield f"{name}-short-length.png", head + idat(stream, claimed=len(stream) // 2) + end, REFUSE
        # the window that the stream needs is larger than its header says
        small = bytes([0x08]) + bytes([31 - 0x0800 % 31]) + stream[2:]
        yield f"{name}-window.png", head + idat(small) + end, READ
        yield f"{name}-three-idats.png", head + idat(stream[:third]) + idat(stream[third : 2 * third]) + idat(stream[2 * third :]) + end, READ
        yield f"{name}-second-crc.png", head + idat(stream[:third]) + idat(stream[third:], bad) + end, READ
        yield f"{name}-lost-idat.png", head + idat(stream[:third]) + idat(stream[2 * third :]) + end, REFUSE
        yield f"{name}-empty-idats.png", head + idat(b"") + idat(stream[:third]) + idat(b"") + idat(stream[third:]) + end, READ
        yield f"{name}-more-rows.png", head + idat(zlib.compress(raw + bytes(1000))) + end, READ
        yield f"{name}-fewer-rows.png", head + idat(zlib.compress(raw[: len(raw) * 3 // 4])) + end, REFUSE
        yield f"{name}-one-byte-less.png", head + idat(zlib.compress(raw[:-1])) + end, REFUSE
        yield f"{name}-behind-stream.png", head + idat(stream + b"rubbish!") + end, READ
        yield f"{name}-stored.png", head + idat(zlib.compress(raw, 0)) + end, READ
        flipped = bytearray(stream)
        flipped[len(stream) // 2] ^= 0x10
        yield f"{name}-flipped.png", head + idat(bytes(flipped)) + end, REFUSE
        yield f"{name}-header-crc.png", whole[:29] + bad + whole[33:], REFUSE
        yield f"{name}-trailing.png", whole + b"x" * 50, READ
        ancillary = bytearray(png_chunk(b"tEXt", b"Title\0x"))
        ancillary[-1] ^= 1
        yield f"{name}-text-crc.png", whole[:33] + bytes(ancillary) + whole[33:], READ
    yield "bad-filter.png", signature + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 0, 0, 0, 0)) + png_chunk(b"IDAT", zlib.compress(b"\x05abcd")) + png_chunk(b"IEND", b""), REFUSE
    yield "no-palette.png", signature + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 3, 0, 0, 0)) + png_chunk(b"IDAT", zlib.compress(b"\0abcd")) + png_chunk(b"IEND", b""), REFUSE


# ---- WebP ----


def damaged_webps():
    exif = Image.Exif()
    exif[0x0112] = 1
    kinds = {
        "lossy": saved(rgb(64, 48, 1), "WEBP", quality=80),
        "lossless": saved(rgb(64, 48, 2), "WEBP", lossless=True),
        "alpha": saved(Image.fromarray(picture(64, 48, 3, 4), "RGBA"), "WEBP", quality=80),
        "exif": saved(rgb(64, 48, 4), "WEBP", quality=80, exif=exif),
        "animated": saved(rgb(64, 48, 5), "WEBP", save_all=True, append_images=[rgb(64, 48, 6)], quality=80),
    }
    for name, data in kinds.items():
        yield f"{name}-whole.webp", data, READ
        yield f"{name}-trailing.webp", data + b"x" * 31, READ
        for part in (0.4, 0.6) if name == "exif" else (0.3, 0.5, 0.8) if name != "animated" else (0.2, 0.3):
            cut = data[: int(len(data) * part)]
            yield f"{name}-cut-{part}.webp", cut, REFUSE
            # The sizes say what is there: only the stream itself knows that it ends too early.
            yield f"{name}-cut-{part}-riff.webp", cut[:4] + struct.pack("<I", len(cut) - 8) + cut[8:], REFUSE
    data = kinds["exif"]
    yield "exif-cut.webp", data[: data.find(b"EXIF") + 10], READ
    yield "exif-gone.webp", data[: data.find(b"EXIF")], READ
    data = kinds["animated"]
    second = data.find(b"ANMF", data.find(b"ANMF") + 4)
    yield "animated-first-only.webp", data[: second + 30], READ


# ---- GIF ----


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


# ---- BMP ----


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


# ---- TIFF ----


def tiff(samples, photometric, bits, *, big=False, compression=1, extra=None, sample_format=None, planar=1, palette=None,
         rows_per_strip=None, orientation=None, tile=None, bigtiff=False, subsampling=None):
    """An own TIFF writer: Pillow writes few of the layouts that it reads. samples [height, width, channels]."""
    height, width, channels = samples.shape
    e = ">" if big else "<"

    def pack_rows(part):
        if bits in (1, 2, 4):
            flat = part.reshape(part.shape[0], -1)
            bit = (flat[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
            return np.packbits(bit.reshape(part.shape[0], -1).astype(np.uint8), axis=1).tobytes()
        return part.astype(part.dtype.newbyteorder(e)).tobytes()

    planes = [samples] if planar == 1 else [samples[:, :, c : c + 1] for c in range(channels)]
    pieces = []
    for plane in planes:
        if tile:
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    block = np.zeros((tile, tile, plane.shape[2]), plane.dtype)
                    part = plane[y : y + tile, x : x + tile]
                    block[: part.shape[0], : part.shape[1]] = part
                    pieces.append(pack_rows(block))
        else:
            step = rows_per_strip or height
            pieces += [pack_rows(plane[y : y + step]) for y in range(0, height, step)]
    if compression == 32773:  # runs that do not stop at the ends of rows
        pieces = [b"".join(struct.pack("b", len(p[i : i + 100]) - 1) + p[i : i + 100] for i in range(0, len(p), 100)) for p in pieces]
    if compression in (8, 32946):
        pieces = [zlib.compress(p) for p in pieces]
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [compression]),
            (262, 3, [photometric]), (277, 3, [channels]), (284, 3, [planar])]
    if tile:
        tags += [(322, 4, [tile]), (323, 4, [tile]), (324, 4, [0] * len(pieces)), (325, 4, [len(p) for p in pieces])]
    else:
        tags += [(273, 4, [0] * len(pieces)), (278, 4, [rows_per_strip or height]), (279, 4, [len(p) for p in pieces])]
    if extra:
        tags.append((338, 3, extra))
    if sample_format:
        tags.append((339, 3, [sample_format] * channels))
    if palette is not None:
        tags.append((320, 3, palette))
    if orientation:
        tags.append((274, 3, [orientation]))
    if subsampling:
        tags.append((530, 3, subsampling))
    tags.sort()
    entry, word, inline = (20, "Q", 8) if bigtiff else (12, "I", 4)
    head = 16 if bigtiff else 8
    body_at = head + (8 if bigtiff else 2) + entry * len(tags) + struct.calcsize(word)
    sizes = {3: ("H", 2), 4: ("I", 4)}
    length = sum(sizes[t][1] * len(v) for _, t, v in tags if sizes[t][1] * len(v) > inline)
    at, offsets = body_at + length, []
    for p in pieces:
        offsets.append(at)
        at += len(p)
    entries, body = b"", b""
    for tag, kind, values in tags:
        values = offsets if tag in (273, 324) else values
        code, size = sizes[kind]
        raw = struct.pack(e + code * len(values), *values)
        if len(raw) > inline:
            value = struct.pack(e + word, body_at + len(body))
            body += raw
        else:
            value = raw.ljust(inline, b"\0")
        entries += struct.pack(e + "HH" + word, tag, kind, len(values)) + value
    magic = b"MM" if big else b"II"
    start = magic + (struct.pack(e + "HHHQ", 43, 8, 0, 16) if bigtiff else struct.pack(e + "HI", 42, 8))
    count = struct.pack(e + ("Q" if bigtiff else "H"), len(tags))
    return start + count + entries + struct.pack(e + word, 0) + body + b"".join(pieces)


def damaged_tiffs():
    w, h = 45, 31
    color, four, grey = picture(w, h, 3), picture(w, h, 4, 4), picture(w, h, 5, 1)
    wide = four.astype(np.uint16) * 257
    random = np.random.default_rng(7)
    files = {}
    for bits in (1, 2, 4, 8):
        level = grey >> (8 - bits)
        for photometric in (0, 1):
            files[f"grey{bits}-{photometric}"] = tiff(level, photometric, bits)
        files[f"palette{bits}"] = tiff(level, 3, bits, palette=list(random.integers(0, 65536, 3 * 2**bits)))
    for big in (False, True):
        tag = "-mm" if big else ""
        files[f"grey16{tag}"] = tiff(random.integers(0, 400, (h, w, 1)).astype(np.uint16), 1, 16, big=big)
        files[f"grey16-signed{tag}"] = tiff(random.integers(-200, 400, (h, w, 1)).astype(np.int16), 1, 16, big=big, sample_format=2)
        files[f"grey32-signed{tag}"] = tiff(random.integers(-200, 400, (h, w, 1)).astype(np.int32), 1, 32, big=big, sample_format=2)
        files[f"float{tag}"] = tiff((random.random((h, w, 1)) * 400 - 50).astype(np.float32), 1, 32, big=big, sample_format=3)
        files[f"rgb{tag}"] = tiff(color, 2, 8, big=big)
        files[f"rgb16{tag}"] = tiff(wide[:, :, :3], 2, 16, big=big)
        files[f"rgba16{tag}"] = tiff(wide, 2, 16, big=big, extra=[2])
        files[f"rgba16-multiplied{tag}"] = tiff(wide, 2, 16, big=big, extra=[1])
        files[f"cmyk16{tag}"] = tiff(wide, 5, 16, big=big)
        files[f"bigtiff{tag}"] = tiff(color, 2, 8, big=big, bigtiff=True)
    files["grey32"] = tiff(random.integers(0, 400, (h, w, 1)).astype(np.uint32), 1, 32)
    for kind in (0, 1, 2):
        files[f"rgb-extra{kind}"] = tiff(four, 2, 8, extra=[kind])
    files["grey-alpha"] = tiff(four[:, :, :2], 1, 8, extra=[2])
    files["grey-extra"] = tiff(four[:, :, :2], 1, 8, extra=[0])
    files["palette-alpha"] = tiff(four[:, :, :2], 3, 8, extra=[2], palette=list(random.integers(0, 65536, 768)))
    files["cmyk"] = tiff(four, 5, 8)
    every = random.integers(0, 256, (96, 128, 3)).astype(np.uint8)
    for big in (False, True):
        files[f"ycc{'-mm' if big else ''}"] = tiff(every, 6, 8, subsampling=[1, 1], big=big)
    files["ycc-strips"] = tiff(every, 6, 8, subsampling=[1, 1], rows_per_strip=7)
    files["ycc-tiles"] = tiff(every, 6, 8, subsampling=[1, 1], tile=32)
    files["saved-ycc"] = saved(rgb(w, h, 3).convert("YCbCr"), "TIFF")
    files["planar"] = tiff(color, 2, 8, planar=2)
    files["planar-strips"] = tiff(color, 2, 8, planar=2, rows_per_strip=7)
    files["planar-zip"] = tiff(color, 2, 8, planar=2, rows_per_strip=7, compression=8)
    files["strips"] = tiff(color, 2, 8, rows_per_strip=4)
    files["tiles"] = tiff(color, 2, 8, tile=16)
    files["tiles-zip"] = tiff(color, 2, 8, tile=16, compression=8)
    files["packbits-across-rows"] = tiff(color, 2, 8, compression=32773, rows_per_strip=9)
    files["packbits-across-rows-grey"] = tiff(grey, 1, 8, compression=32773)
    files["zip"] = tiff(color, 2, 8, compression=8, rows_per_strip=5)
    files["zip16"] = tiff(wide[:, :, :3], 2, 16, compression=8, rows_per_strip=5)
    files["zip16-mm"] = tiff(wide[:, :, :3], 2, 16, compression=8, rows_per_strip=5, big=True)
    for orientation in range(1, 9):
        files[f"turned-{orientation}"] = tiff(color, 2, 8, orientation=orientation)
    bilevel = rgb(w, h, 3).convert("1")
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
        files[f"saved-{compression}"] = saved(rgb(w, h, 3), "TIFF", compression=compression)
        files[f"saved-grey-{compression}"] = saved(rgb(w, h, 3).convert("L"), "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        files[f"saved-{compression}"] = saved(bilevel, "TIFF", compression=compression)
    files["pages"] = saved(rgb(w, h, 3), "TIFF", save_all=True, append_images=[rgb(20, 20, 4)])
    yield "ycc-subsampled.tif", tiff(every, 6, 8, subsampling=[2, 2]), REFUSE
    for name, data in files.items():
        yield f"{name}-whole.tif", data, READ
        own = not name.startswith(("saved", "pages"))
        yield f"{name}-trailing.tif", data + b"x" * 9, READ
        if own:
            yield f"{name}-cut.tif", data[:-30], REFUSE
            if "tiles" not in name:
                yield f"{name}-cut-1.tif", data[:-1], REFUSE
    for name in ("saved-tiff_lzw", "saved-packbits", "saved-tiff_adobe_deflate", "saved-jpeg", "saved-group4", "saved-group3"):
        data = files[name]
        # The strips lie in front of the directory in these files: the data is emptied in its middle instead of cut.
        with Image.open(io.BytesIO(data)) as image:
            offset, size = image.tag_v2[273][0], image.tag_v2[279][0]
        broken = bytearray(data)
        if "deflate" in name:  # a stream that goes on with zeros may well give all pixels; its checksum may not be wrong
            broken[offset + size - 1] ^= 1
            yield f"{name}-adler.tif", bytes(broken), REFUSE
            continue
        middle = offset + size // 2
        broken[middle : offset + size] = bytes(offset + size - middle) if "jpeg" not in name else b"\xff\xd9" + bytes(offset + size - middle - 2)
        if name not in ("saved-group3", "saved-packbits", "saved-group4"):
            yield f"{name}-emptied.tif", bytes(broken), REFUSE


# ---- AVIF ----


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


def damaged():
    """(name, bytes, READ or REFUSE) of every file."""
    yield from damaged_jpegs()
    yield "two-components.jpg", two_components(), REFUSE
    for part in (damaged_pngs, damaged_webps, damaged_gifs, damaged_bmps, damaged_tiffs, damaged_avifs):
        yield from part()


def main(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data, _ in damaged():
        (Path(folder) / name).write_bytes(data)
        count += 1
    print(count, "files")


if __name__ == "__main__":
    main(sys.argv[1])
