# SPDX-License-Identifier: Apache-2.0
"""Draws odd image files of every format, valid ones that encoders seldom write and damaged ones, each with what is right.

Called by test_damage.py; by hand: python make_odd.py FOLDER.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from make_corpus import written  # noqa: E402
from odd_avif import odd_avifs  # noqa: E402
from odd_bmp import odd_bmps  # noqa: E402
from odd_gif import odd_gifs  # noqa: E402
from odd_jpeg import odd_jpegs  # noqa: E402
from odd_png import odd_pngs, odd_webps  # noqa: E402
from odd_tiff import odd_tiffs  # noqa: E402


def odd():
    """(name, bytes, right) of every file; what is right is in verdict.py."""
    for part in (odd_jpegs, odd_pngs, odd_webps, odd_gifs, odd_bmps, odd_tiffs, odd_avifs):
        for name, data, right in part():
            yield f"odd-{name}", data, right


if __name__ == "__main__":
    print(written(odd(), sys.argv[1]), "files")
