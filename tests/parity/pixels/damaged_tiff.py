# SPDX-License-Identifier: Apache-2.0
"""A TIFF writer, and damaged TIFF files of every layout. Used by make_damage.py and odd_tiff.py."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from make_corpus import picture, rgb, saved
from verdict import READ, REFUSE


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
