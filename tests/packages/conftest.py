# SPDX-License-Identifier: Apache-2.0
"""What the packages are compared with: the server of the build they are made from, over the same pictures."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (HERE, ROOT / "packaging", ROOT / "tests/python", ROOT / "client/python/src"):
    sys.path.insert(0, str(folder))
# tests/python/real_server.py starts the program of this one.
os.environ["EMBEDD_BUILD_DIR"] = os.environ.get("EMBEDD_RELEASE_DIR", str(ROOT / "build/release"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of pictures, one of each format that is read by default."""
    from PIL import Image

    sys.path.insert(0, str(ROOT / "models/demo"))
    folder = tmp_path_factory.mktemp("pictures")
    for number, kind in enumerate(("png", "jpg", "webp", "gif", "bmp", "tiff", "avif")):
        picture = Image.effect_mandelbrot((120, 90), (-2, -1.2, 0.6, 1.2), 40 + number).convert("RGB")
        picture.save(folder / f"{number}.{kind}")
    return folder


@pytest.fixture(scope="session")
def build():
    """The folder of the build that is shipped; EMBEDD_RELEASE_DIR names one that is there."""
    if "EMBEDD_RELEASE_DIR" not in os.environ:
        subprocess.run([str(ROOT / "scripts/build"), "release", "embedd", "embedctl"], check=True)
    return pathlib.Path(os.environ["EMBEDD_BUILD_DIR"])


@pytest.fixture(scope="session")
def expected(pictures, build):
    """The vectors of the server as it was built."""
    import real_server
    from embedd import EmbedClient

    with real_server.RealServer() as server, EmbedClient(server.target) as client:
        return client.embed_images(sorted(pictures.iterdir()))


@pytest.fixture(scope="session")
def wheels(build):
    """A folder with the two wheels, made by the script that makes them for everybody."""
    out = ROOT / ".cache/packages/dist"
    subprocess.run([str(ROOT / "scripts/build-wheel"), "--build", str(build), "--out", str(out)], check=True)
    return out
