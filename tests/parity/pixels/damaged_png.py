# SPDX-License-Identifier: Apache-2.0
"""Damaged PNG and WebP files. Used by make_damage.py."""

import struct
import zlib

import numpy as np
from PIL import Image

from make_corpus import picture, png, png_chunk, rgb, saved
from verdict import READ, REFUSE


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
