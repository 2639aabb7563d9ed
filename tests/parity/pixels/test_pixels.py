# SPDX-License-Identifier: Apache-2.0
"""Our pixels against Pillow's, byte for byte, over a drawn corpus.

The reference is what a user of open_clip runs: Image.open(f).convert("RGB"), then the geometry of open_clip's own
transform (resize, crop, pad). Run by pytest (the tool is looked for in EMBEDD_BUILD_DIR, default build/dev), or by
hand: python test_pixels.py --bench prints times against Pillow's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from make_corpus import make_corpus  # noqa: E402

SPECS = [
    "raw",
    "224x224:shortest:bicubic",
    "224x224:shortest:bilinear",
    "224x224:squash:bicubic",
    "224x224:squash:bilinear",
    "224x224:longest:bicubic",
    "224x224:longest:bilinear:fill=127",
    "336x280:shortest:bicubic",
    "200x320:longest:bicubic:fill=255",
    "320x192:squash:bicubic",
    "378x378:shortest:bicubic:floor",
    "32x32:shortest:bicubic",
    "16x256:patches:bilinear",
    "14x100:patches:bicubic",
]


def tool():
    root = Path(__file__).parents[3]
    build = Path(os.environ.get("EMBEDD_BUILD_DIR", root / "build" / "dev"))
    return (root / build if not build.is_absolute() else build) / "bin" / "pixel_dump"


def open_rgb(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(path).convert("RGB")


class PatchesReference:
    """The pixels of an image of any shape as transformers' Siglip2ImageProcessorPil makes them, before they are cut into patches."""

    def __init__(self, text):
        size, _, interpolation = text.split(":")
        self.patch, self.most = map(int, size.split("x"))
        self.resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]

    def __call__(self, image):
        from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

        height, width = get_image_size_for_max_num_patches(image.height, image.width, self.patch, self.most)
        return np.asarray(image.resize((width, height), self.resample)).transpose(2, 0, 1)


class Reference:
    """The geometry of a spec as open_clip applies it: an RGB image in, uint8 [3, height, width] out."""

    def __init__(self, text):
        from open_clip.transform import image_transform
        from torchvision.transforms import CenterCrop

        size, mode, interpolation, *options = text.split(":")
        self.width, self.height = map(int, size.split("x"))
        fill = next((int(o[5:]) for o in options if o.startswith("fill=")), 0)
        self.floor = "floor" in options
        full = image_transform(
            (self.height, self.width), False, resize_mode=mode, interpolation=interpolation, fill_color=fill
        )
        # The last three make RGB, a tensor and the normalised tensor; the pixels are finished before them.
        self.steps = full.transforms[:-3]
        if self.floor:
            self.steps = [s for s in self.steps if not isinstance(s, CenterCrop)]

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        if self.floor:
            left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
            image = image.crop((left, top, left + self.width, top + self.height))
        return np.asarray(image).transpose(2, 0, 1)


def run_tool(arguments, files, specs, folder):
    lists = []
    for name, lines in (("files", files), ("specs", specs)):
        lists.append(Path(folder) / name)
        lists[-1].write_text("".join(f"{line}\n" for line in lines))
    return subprocess.run([tool(), *arguments, *lists], check=True, capture_output=True, text=True).stdout


def sampled(file_number, spec_number):
    """Every spec meets a third of the files, every file the plain decode, the usual spec and three or more others."""
    return spec_number < 2 or (file_number + spec_number) % 3 == 0


def test_pixels_equal_pillow():
    assert tool().exists(), f"{tool()} is not built"
    references = [None if s == "raw" else (PatchesReference if ":patches:" in s else Reference)(s) for s in SPECS]
    images, compared, differing, largest, problems = 0, 0, 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        corpus, out = Path(folder) / "corpus", Path(folder) / "out"
        corpus.mkdir(), out.mkdir()
        files = make_corpus(corpus)
        # A few at a time, so that the raw pixels of all do not lie on the disk at once.
        for begin in range(0, len(files), 20):
            part = files[begin : begin + 20]
            lines = run_tool([out], part, SPECS, folder).splitlines()
            for i, (path, line) in enumerate(zip(part, lines, strict=True)):
                status = line.split("\t")
                image = open_rgb(path)
                images += 1
                if status[1] != "ok":
                    problems.append(f"{path.name}: {status[1:]}")
                    continue
                for s, reference in enumerate(references):
                    if not sampled(begin + i, s):
                        continue
                    try:
                        want = np.asarray(image) if reference is None else reference(image)
                    except ValueError:
                        continue  # Pillow makes no image with a side of 0 (3000x10, longest side to 32)
                    got = np.fromfile(out / f"{i}.{s}", np.uint8)
                    assert got.size == want.size, f"{path.name} {SPECS[s]}: {got.size} bytes, not {want.size}"
                    gap = np.abs(got.reshape(want.shape).astype(np.int16) - want)
                    compared += gap.size
                    if gap.any():
                        differing += int((gap > 0).sum())
                        largest = max(largest, int(gap.max()))
                        problems.append(f"{path.name} {SPECS[s]}: {(gap > 0).sum()} of {gap.size} bytes, up to {gap.max()}")
            for path in out.iterdir():
                path.unlink()
    print(
        f"pixels: {images} images, {len(SPECS)} specs, {compared} bytes compared with Pillow {Image.__version__}: "
        f"{differing} differ, largest difference {largest}"
    )
    assert not problems, "\n".join(problems[:40])
    assert images >= 300


def bench(rounds):
    """CPU time, the least of `rounds`, ours and Pillow's in turn on the same files."""
    from make_corpus import rgb

    spec = "224x224:shortest:bicubic"
    reference = Reference(spec)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for width, height in ((500, 375), (640, 480), (1920, 1080), (4000, 3000)):
            for kind in ("jpg", "png", "webp"):
                if kind != "jpg" and width > 2000:
                    continue
                path = Path(folder) / f"{width}x{height}.{kind}"
                rgb(width, height, 1).save(path, **({"quality": 85} if kind != "png" else {"compress_level": 6}))
                files.append(path)
        print(f"{'file':16} {'decode ms':>10} {'Pillow':>8} {'ratio':>6} {'resize ms':>10} {'Pillow':>8} {'ratio':>6} {'both ms':>10} {'to sum':>6}")
        for path in files:
            ours = run_tool(["--time", str(rounds)], [path], [spec], folder).split("\t")
            decode = prepare = 1e9
            for _ in range(rounds):
                start = time.process_time()
                image = open_rgb(path)
                decoded = time.process_time()
                for step in reference.steps:  # geometry only: what the array costs is not Pillow's
                    image = step(image)
                end = time.process_time()
                decode, prepare = min(decode, decoded - start), min(prepare, end - decoded)
            d, p, both = map(float, ours[2:5])
            print(
                f"{path.name:16} {d:10.2f} {decode * 1e3:8.2f} {decode * 1e3 / d:6.2f}"
                f" {p:10.3f} {prepare * 1e3:8.3f} {prepare * 1e3 / p:6.2f} {both:10.2f} {both / (d + p):6.2f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", action="store_true", help="print times against Pillow's instead of comparing bytes")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.bench:
        bench(arguments.rounds)
    else:
        test_pixels_equal_pillow()
