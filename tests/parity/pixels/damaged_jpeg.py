# SPDX-License-Identifier: Apache-2.0
"""Damaged JPEG files of every coding. Used by make_damage.py.

Arithmetic coding, which Pillow does not write, comes from the program arithmetic_jpeg.
"""

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from make_corpus import picture, rgb, saved
from verdict import READ, REFUSE


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
    yield "two-components.jpg", two_components(), REFUSE
