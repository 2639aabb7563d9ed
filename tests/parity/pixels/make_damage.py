# SPDX-License-Identifier: Apache-2.0
"""Draws damaged image files of every format and coding, each with what is right (verdict.py).

Called by test_damage.py; by hand: python make_damage.py FOLDER.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from damaged_avif import damaged_avifs  # noqa: E402
from damaged_bmp import damaged_bmps  # noqa: E402
from damaged_gif import damaged_gifs  # noqa: E402
from damaged_jpeg import damaged_jpegs  # noqa: E402
from damaged_png import damaged_pngs, damaged_webps  # noqa: E402
from damaged_tiff import damaged_tiffs  # noqa: E402
from make_corpus import written  # noqa: E402


def damaged():
    """(name, bytes, right) of every file."""
    for part in (damaged_jpegs, damaged_pngs, damaged_webps, damaged_gifs, damaged_bmps, damaged_tiffs, damaged_avifs):
        yield from part()


if __name__ == "__main__":
    print(written(damaged(), sys.argv[1]), "files")
