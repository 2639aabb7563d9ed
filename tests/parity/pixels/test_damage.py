# SPDX-License-Identifier: Apache-2.0
"""Damaged files against the one rule for all formats: read when every pixel is there, refused when pixels are missing or
a checksum over them is wrong. What is read has Pillow's pixels: 0 bytes differ; in AVIF up to 1 grey level, for rare matrices.

Run by pytest, or by hand: python test_damage.py.
"""

import io
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from make_damage import damaged  # noqa: E402
from make_odd import odd  # noqa: E402
from verdict import AS_PILLOW, READ, REFUSE  # noqa: E402
from test_pixels import run_tool, tool  # noqa: E402

# Files that Pillow reads and that are refused, or read with other pixels: each with the reason. docs/formats.md has the list.
_PLANES = "Pillow takes the bytes of 16-bit planes without compression for samples of 8 bits; the right pixels here"
_DIRECTORY = "libtiff does not take the directory"
_SCALED = "the header gives another size than the picture has: libavif stretches the picture to it"
EXCEPTIONS = {
    "odd-rgb16-planar2-1.tif": _PLANES, "odd-rgb16-planar2-rows_per_strip5-1.tif": _PLANES, "odd-rgb16-planar2-tile16-1.tif": _PLANES,
    "odd-cmyk16-planar2-1.tif": _PLANES, "odd-cmyk16-planar2-rows_per_strip5-1.tif": _PLANES, "odd-cmyk16-planar2-tile16-1.tif": _PLANES,
    "odd-rgb16-extra-2-planar.tif": _PLANES,
    "odd-without-279.tif": _DIRECTORY, "odd-count-2-257.tif": _DIRECTORY, "odd-count-2-278.tif": _DIRECTORY, "odd-count-0-278.tif": _DIRECTORY,
    "odd-planar-3.tif": _DIRECTORY,
    "odd-ispe-1-0.avif": _SCALED, "odd-ispe--1-0.avif": _SCALED, "odd-ispe-0-8.avif": _SCALED, "odd-ispe--9--9.avif": _SCALED,
    "odd-palette-behind.png": "the palette comes behind the pixels: Pillow paints them black",
}


def pillow(data):
    """RGB pixels, or None where Pillow does not read the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        except Exception:  # noqa: BLE001 - it raises of every kind
            return None


def test_damaged_files_are_read_or_refused_by_one_rule():
    assert tool().exists(), f"{tool()} is not built"
    wrong, counts = [], {"read": 0, "refused": 0, "without Pillow": 0, "exceptions": 0}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        out.mkdir()
        cases = [*damaged(), *odd()]
        paths = []
        for i, (name, data, _) in enumerate(cases):
            paths.append(Path(folder) / f"{i:04d}-{name}")
            paths[-1].write_bytes(data)
        lines = run_tool([out], paths, ["raw"], folder).splitlines()
        for i, ((name, data, right), line) in enumerate(zip(cases, lines, strict=True)):
            _, status, *rest = line.split("\t")
            if name in EXCEPTIONS:
                counts["exceptions"] += 1
                continue
            if status != "ok":
                counts["refused"] += 1
                if right == READ or (right == AS_PILLOW and pillow(data) is not None):
                    wrong.append(f"{name}: all pixels are there, but {status} {rest}")
                elif status not in ("CORRUPT_IMAGE", "UNSUPPORTED_FORMAT"):
                    wrong.append(f"{name}: {status} is no reason for damage")
                continue
            counts["read"] += 1
            if right == REFUSE:
                wrong.append(f"{name}: read, though pixels are missing")
                continue
            want = pillow(data)
            if want is None:
                counts["without Pillow"] += 1
                continue
            got = np.fromfile(out / f"{i}.0", np.uint8)
            if got.size != want.size:
                wrong.append(f"{name}: {got.size} bytes, not {want.size}")
                continue
            gap = np.abs(got.reshape(want.shape).astype(np.int16) - want)
            if gap.max() > (1 if name.endswith(".avif") else 0):
                wrong.append(f"{name}: {(gap > 0).sum()} of {gap.size} bytes differ, up to {gap.max()}")
    print(f"damage: {len(cases)} files: " + ", ".join(f"{n} {what}" for what, n in counts.items()) + f", {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)
    assert len(cases) >= 4000
    assert counts["exceptions"] == len(EXCEPTIONS), "an exception is no file of these any more"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit address space")
def test_a_picture_that_finds_no_memory_fails_alone():
    """Address space for the pixels of a large picture, not for what its decoder needs beside them."""
    side = 4000
    large = Image.new("RGB", (side, side), "orange")
    kinds = {"jpg": ("JPEG", {"progressive": True}), "webp": ("WEBP", {"lossless": True}), "gif": ("GIF", {}), "avif": ("AVIF", {"speed": 10})}
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.png"
        Image.new("RGB", (20, 20), "teal").save(small)
        out = Path(folder) / "out"
        out.mkdir()
        for name, (kind, options) in kinds.items():
            path = Path(folder) / f"large.{name}"
            (large.quantize(4) if kind == "GIF" else large).save(path, kind, **options)
            reasons = set()
            # How much the program itself needs differs between builds: somewhere on the way up it is enough for the small
            # ones and too little for the large one.
            for mebibytes in range(40, 400, 12):
                limit = mebibytes << 20
                lists = Path(folder) / "files", Path(folder) / "specs"
                lists[0].write_text(f"{small}\n{path}\n{small}\n")
                lists[1].write_text("64x64:squash:bicubic\n")
                ran = subprocess.run([tool(), out, *lists], capture_output=True, text=True,
                                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
                if ran.returncode == 127 or "loading shared libraries" in ran.stderr or not ran.stdout:
                    continue
                assert ran.returncode == 0, f"{name} with {mebibytes} MiB: {ran.returncode} {ran.stderr[-300:]}"
                words = [line.split("\t")[1] for line in ran.stdout.splitlines()]
                if words[0] == "HOST_MEMORY":
                    continue
                assert words[0] == words[2] == "ok", f"{name} with {mebibytes} MiB: {ran.stdout}"
                reasons.add(words[1])
                if words[1] == "ok":
                    break
            assert reasons == {"HOST_MEMORY", "ok"}, f"{name}: {reasons}"


if __name__ == "__main__":
    test_damaged_files_are_read_or_refused_by_one_rule()
