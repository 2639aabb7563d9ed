# SPDX-License-Identifier: Apache-2.0
"""Draws the corpus of image files that test_pixels.py compares: every mode, format and shape that a server meets.

Nothing is downloaded and nothing is random between runs. Called by test_pixels.py; by hand:
python make_corpus.py FOLDER.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Width x height. The first ones are photographs' sizes, then the corners.
SIZES = [(500, 375), (375, 500), (640, 427), (224, 224), (225, 224), (223, 301), (1024, 683), (97, 61), (64, 200), (8, 8)]
TINY = [(1, 1), (2, 1), (1, 2), (3, 3), (7, 5), (15, 17), (16, 16), (17, 33)]
EXTREME = [(3000, 10), (10, 3000), (2000, 1), (1, 2000), (1200, 90), (90, 1200), (450, 225), (225, 451), (224, 600)]
LARGE = [(4000, 3000), (1080, 1920), (1920, 1080)]


def picture(width, height, seed, channels=3):
    """Smooth gradients, edges and noise: uint8 [height, width, channels]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = []
    for c in range(channels):
        f = rng.uniform(0.5, 6.0, 4)
        wave = np.sin(f[0] * 6.28 * x / max(width, 8) + c) * np.cos(f[1] * 6.28 * y / max(height, 8))
        edge = ((x * f[2] + y * f[3]).astype(np.int64) // 23 % 2) * 60.0
        planes.append(110 + 80 * wave + edge + rng.normal(0, 12, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def rgb(width, height, seed):
    return Image.fromarray(picture(width, height, seed))


def saved(image, kind, **options):
    """The bytes of the file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(files, folder):
    """Writes (name, bytes, …) of each file; how many they were."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, data, *_ in files:
        (Path(folder) / name).write_bytes(data)
        count += 1
    return count


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_rows(samples, bits):
    """Packs [height, width, channels] to PNG rows, each with a filter byte; all five filters are used in turn."""
    height, width, channels = samples.shape
    if bits == 16:
        packed = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    elif bits == 8:
        packed = samples.astype(np.uint8).reshape(height, -1)
    else:
        flat = samples.reshape(height, -1).astype(np.uint8)
        bit = (flat[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(bit.reshape(height, -1), axis=1)
    step = max(1, channels * bits // 8)
    out = bytearray()
    above = np.zeros(packed.shape[1], np.int16)
    for i, row in enumerate(packed.astype(np.int16)):
        left = np.concatenate([np.zeros(step, np.int16), row[:-step]]) if row.size > step else np.zeros_like(row)
        corner = np.concatenate([np.zeros(step, np.int16), above[:-step]]) if row.size > step else np.zeros_like(row)
        kind = i % 5
        if kind == 4:
            p = left + above - corner
            da, db, dc = abs(p - left), abs(p - above), abs(p - corner)
            guess = np.where((da <= db) & (da <= dc), left, np.where(db <= dc, above, corner))
        else:
            guess = [0, left, above, (left + above) // 2][kind]
        out += bytes([kind]) + ((row - guess) & 255).astype(np.uint8).tobytes()
        above = row
    return bytes(out)


def png(samples, color, bits, interlace=False, chunks=()):
    """An own PNG writer: Pillow writes neither 16-bit colour nor interlaced files. samples [height, width, channels]."""
    height, width, _ = samples.shape
    if interlace:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        raw = b"".join(png_rows(p, bits) for p in parts if p.size)
    else:
        raw = png_rows(samples, bits)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlace))
    body = b"".join(png_chunk(k, d) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IDAT", zlib.compress(raw, 6)) + png_chunk(b"IEND", b"")


class Corpus:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.files = []

    def add(self, name, data):
        path = self.folder / f"{len(self.files):03d}-{name}"
        path.write_bytes(data)
        self.files.append(path)

    def save(self, name, image, kind, **options):
        self.add(name, saved(image, kind, **options))


def resampled_jpeg(image, subsampling, width, height, factors, **options):
    """A JPEG of sampling factors that Pillow cannot write: the same blocks under another frame header.

    It shows scrambled tiles, but is a valid file: the number of blocks per unit and of units stays the same.
    """
    data = bytearray(saved(image, "JPEG", quality=85, subsampling=subsampling, **options))
    at = max(data.find(b"\xff\xc0\x00\x11\x08"), data.find(b"\xff\xc2\x00\x11\x08"))
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    data[at + 11] = factors
    return bytes(data)


def add_jpeg(c):
    for progressive in (False, True):
        tag = "-progressive" if progressive else ""
        c.add(f"440{tag}.jpg", resampled_jpeg(rgb(320, 160, 1), 1, 160, 320, 0x12, progressive=progressive))
        c.add(f"440-odd{tag}.jpg", resampled_jpeg(rgb(320, 160, 1), 1, 155, 309, 0x12, progressive=progressive))
        c.add(f"411{tag}.jpg", resampled_jpeg(rgb(320, 320, 2), 2, 640, 160, 0x41, progressive=progressive))
        c.add(f"411-odd{tag}.jpg", resampled_jpeg(rgb(320, 320, 2), 2, 631, 157, 0x41, progressive=progressive))
        c.add(f"441{tag}.jpg", resampled_jpeg(rgb(320, 320, 3), 2, 160, 640, 0x14, progressive=progressive))
    for i, (w, h) in enumerate(SIZES):
        for sampling, label in ((0, "444"), (1, "422"), (2, "420")):
            c.save(f"{w}x{h}-{label}.jpg", rgb(w, h, i), "JPEG", quality=88, subsampling=sampling)
            c.save(f"{w}x{h}-{label}-progressive.jpg", rgb(w, h, i), "JPEG", quality=75, subsampling=sampling, progressive=True)
    for i, (w, h) in enumerate(TINY + EXTREME):
        for sampling, label in ((0, "444"), (2, "420")):
            c.save(f"{w}x{h}-{label}.jpg", rgb(w, h, 50 + i), "JPEG", quality=90, subsampling=sampling)
    for i, (w, h) in enumerate(LARGE):
        c.save(f"{w}x{h}.jpg", rgb(w, h, 90 + i), "JPEG", quality=85, progressive=i == 1)
    for i, (w, h) in enumerate([(320, 200), (201, 303)]):
        for quality in (1, 5, 30, 60, 95, 100):
            c.save(f"{w}x{h}-q{quality}.jpg", rgb(w, h, i), "JPEG", quality=quality, optimize=quality % 2 == 1)
        c.save(f"{w}x{h}-grey.jpg", rgb(w, h, i).convert("L"), "JPEG")
        c.save(f"{w}x{h}-grey-progressive.jpg", rgb(w, h, i).convert("L"), "JPEG", progressive=True)
        c.save(f"{w}x{h}-restart.jpg", rgb(w, h, i), "JPEG", restart_marker_rows=2)
        c.save(f"{w}x{h}-keep-rgb.jpg", rgb(w, h, i), "JPEG", keep_rgb=True)
        cmyk = Image.fromarray(picture(w, h, 7 + i, 4), "CMYK")
        c.save(f"{w}x{h}-cmyk.jpg", cmyk, "JPEG", quality=90)
        c.save(f"{w}x{h}-cmyk-progressive.jpg", cmyk, "JPEG", quality=80, progressive=True)
        # The same samples, read as YCCK: the transform byte of the Adobe segment says so.
        data = saved(cmyk, "JPEG", quality=90)
        at = data.find(b"Adobe")
        if at > 0:
            c.add(f"{w}x{h}-ycck.jpg", data[: at + 11] + b"\x02" + data[at + 12 :])
            # And without the segment at all: four components, no word on their meaning.
            c.add(f"{w}x{h}-cmyk-no-adobe.jpg", data[: at - 4] + data[at - 4 + 16 :])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        c.save(f"exif-{orientation}.jpg", rgb(160, 90, 3), "JPEG", exif=exif)
    from PIL import ImageCms

    for space in ("sRGB", "LAB", "XYZ"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
        c.save(f"icc-{space}.jpg", rgb(200, 150, 4), "JPEG", icc_profile=profile)
        c.save(f"icc-{space}.png", rgb(200, 150, 4), "PNG", icc_profile=profile)
        c.save(f"icc-{space}.webp", rgb(200, 150, 4), "WEBP", icc_profile=profile)
    c.save("two-pictures.jpg", rgb(100, 80, 5), "MPO", save_all=True, append_images=[rgb(100, 80, 6)])
    c.add("trailing-bytes.jpg", saved(rgb(120, 80, 5), "JPEG", comment=b"x" * 5000) + b"\0" * 777)


def add_png(c):
    for i, (w, h) in enumerate(SIZES + TINY + EXTREME[:4]):
        c.save(f"{w}x{h}.png", rgb(w, h, 20 + i), "PNG", compress_level=1)
        c.add(f"{w}x{h}-interlaced.png", png(picture(w, h, 20 + i), 2, 8, interlace=True))
    c.save("1600x1200.png", rgb(1600, 1200, 1), "PNG", compress_level=1)
    w, h = 301, 203
    four = picture(w, h, 31, 4)
    four[:40, :, 3] = 0
    c.save("rgba.png", Image.fromarray(four, "RGBA"), "PNG")
    c.save("grey-alpha.png", Image.fromarray(four[:, :, 2:].copy(), "LA"), "PNG")
    c.save("grey.png", Image.fromarray(four[:, :, 0].copy(), "L"), "PNG")
    c.save("one-bit.png", Image.fromarray(four[:, :, 0].copy(), "L").convert("1"), "PNG")
    for colors in (2, 4, 16, 200, 256):
        palette = rgb(w, h, colors).quantize(colors)
        c.save(f"palette-{colors}.png", palette, "PNG")
        c.save(f"palette-{colors}-key.png", palette, "PNG", transparency=1)
        c.save(f"palette-{colors}-alpha.png", palette, "PNG", transparency=bytes(range(0, 2 * colors, 2)) if colors < 129 else bytes(200))
        c.save(f"palette-{colors}.webp", palette, "WEBP", lossless=True)
    wide = picture(w, h, 32, 4).astype(np.uint16) * 257 + np.random.default_rng(1).integers(-128, 128, (h, w, 4)).astype(np.uint16)
    dark = np.random.default_rng(2).integers(0, 400, (h, w, 1)).astype(np.uint16)
    for interlace in (False, True):
        tag = "-interlaced" if interlace else ""
        c.add(f"grey16{tag}.png", png(wide[:, :, :1], 0, 16, interlace))
        c.add(f"grey16-dark{tag}.png", png(dark, 0, 16, interlace))
        c.add(f"grey16-dark-key{tag}.png", png(dark, 0, 16, interlace, [(b"tRNS", struct.pack(">H", 200))]))
        c.add(f"rgb16{tag}.png", png(wide[:, :, :3], 2, 16, interlace))
        c.add(f"rgb16-key{tag}.png", png(wide[:, :, :3], 2, 16, interlace, [(b"tRNS", struct.pack(">HHH", *wide[5, 5, :3]))]))
        c.add(f"grey-alpha16{tag}.png", png(wide[:, :, :2], 4, 16, interlace))
        c.add(f"rgba16{tag}.png", png(wide, 6, 16, interlace))
        c.add(f"rgba8{tag}.png", png(four, 6, 8, interlace))
        c.add(f"grey-alpha8{tag}.png", png(four[:, :, :2], 4, 8, interlace))
        c.add(f"rgb8-key{tag}.png", png(four[:, :, :3], 2, 8, interlace, [(b"tRNS", struct.pack(">HHH", *four[9, 9, :3]))]))
        c.add(f"grey8-key{tag}.png", png(four[:, :, :1], 0, 8, interlace, [(b"tRNS", struct.pack(">H", four[9, 9, 0]))]))
        for bits in (1, 2, 4):
            low = four[:, :, :1] >> (8 - bits)
            c.add(f"grey{bits}{tag}.png", png(low, 0, bits, interlace))
            c.add(f"grey{bits}-key{tag}.png", png(low, 0, bits, interlace, [(b"tRNS", struct.pack(">H", 1))]))
            colors = np.random.default_rng(bits).integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes()
            c.add(f"palette{bits}{tag}.png", png(low, 3, bits, interlace, [(b"PLTE", colors)]))
            c.add(f"palette{bits}-key{tag}.png", png(low, 3, bits, interlace, [(b"PLTE", colors), (b"tRNS", b"\x80\x00")]))
        short = np.random.default_rng(9).integers(0, 256, 300).astype(np.uint8).tobytes()
        c.add(f"palette8-short{tag}.png", png(four[:, :, :1], 3, 8, interlace, [(b"PLTE", short)]))
    plain = picture(90, 70, 8)
    c.add("gamma.png", png(plain, 2, 8, chunks=[(b"gAMA", struct.pack(">I", 100000))]))
    c.add("srgb-chunk.png", png(plain, 2, 8, chunks=[(b"sRGB", b"\0")]))
    c.add("sbit.png", png(plain, 2, 8, chunks=[(b"sBIT", b"\5\6\5")]))
    c.add("background.png", png(four, 6, 8, chunks=[(b"bKGD", struct.pack(">HHH", 255, 0, 0))]))
    frames = [rgb(80, 60, 70 + i) for i in range(3)]
    c.save("animated.png", frames[0], "PNG", save_all=True, append_images=frames[1:])
    c.save("animated-default.png", frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)


def add_webp(c):
    for i, (w, h) in enumerate(SIZES + TINY + EXTREME[:4]):
        c.save(f"{w}x{h}-lossy.webp", rgb(w, h, 40 + i), "WEBP", quality=[80, 30, 95][i % 3], method=2)
        c.save(f"{w}x{h}-lossless.webp", rgb(w, h, 40 + i), "WEBP", lossless=True, method=0)
    for i, (w, h) in enumerate(LARGE[1:2]):
        c.save(f"{w}x{h}.webp", rgb(w, h, 60 + i), "WEBP", quality=75, method=1)
    four = picture(260, 181, 61, 4)
    four[:60, :, 3] = 0
    for name, options in (("lossy", {}), ("lossless", {"lossless": True}), ("exact", {"lossless": True, "exact": True}), ("lossy-alpha20", {"alpha_quality": 20})):
        c.save(f"alpha-{name}.webp", Image.fromarray(four, "RGBA"), "WEBP", **options)
    for lossless in (False, True):
        frames = [rgb(120, 90, 80 + i) for i in range(3)]
        c.save(f"animated-{lossless}.webp", frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=lossless)
        clear = [Image.fromarray(picture(120, 90, 85 + i, 4), "RGBA") for i in range(3)]
        c.save(f"animated-alpha-{lossless}.webp", clear[0], "WEBP", save_all=True, append_images=clear[1:], lossless=lossless)
        # A first frame smaller than the canvas, at an offset.
        sparse = np.zeros((90, 120, 4), np.uint8)
        sparse[20:50, 30:80] = picture(50, 30, 88, 4)
        sparse[20:50, 30:80, 3] |= 1
        c.save(f"animated-sparse-{lossless}.webp", Image.fromarray(sparse, "RGBA"), "WEBP", save_all=True, append_images=clear[1:], lossless=lossless, minimize_size=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    c.save("exif-6.webp", rgb(160, 90, 3), "WEBP", exif=exif)


def make_corpus(folder):
    """Writes the files into `folder` and returns their paths."""
    corpus = Corpus(folder)
    add_jpeg(corpus)
    add_png(corpus)
    add_webp(corpus)
    return corpus.files


if __name__ == "__main__":
    print(len(make_corpus(sys.argv[1])), "files")
