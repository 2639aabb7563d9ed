# SPDX-License-Identifier: Apache-2.0
"""`pip install embedd-server` in a Debian that has Python and no compiler: it serves, and its vectors are those of the build."""

import json
import re
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import licences
import roots

pytestmark = pytest.mark.skipif(bool(roots.missing()), reason=roots.missing())

_EMBED = """
import json, pathlib, sys
from embedd import EmbedClient
with EmbedClient(sys.argv[1]) as client:
    vectors = client.embed_images(sorted(pathlib.Path("/pictures").iterdir()))
    texts = client.embed_texts(["a pink star"])
print(json.dumps({"vectors": vectors.tolist(), "texts": texts.shape}))
"""


@pytest.fixture(scope="module")
def house(wheels):
    """The wheels and all that they need: pip of this machine knows where packages come from."""
    house = roots.CACHE / "wheelhouse"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", str(house), "--only-binary=:all:", "--python-version", "3.11",
                    *map(str, wheels.glob("*.whl"))], check=True)  # fmt: skip
    for wheel in wheels.glob("*.whl"):
        shutil.copy(wheel, house)
    return house


@pytest.fixture(scope="module")
def root(house, tmp_path_factory, pictures, expected):
    tar = roots.base("python", "python3-venv", "ca-certificates")
    with roots.Root(tar, tmp_path_factory.mktemp("wheel") / "root") as root:
        for compiler in ("cc", "gcc", "g++", "clang", "cmake"):
            assert root.run("which", compiler, check=False).returncode != 0
        shutil.copytree(pictures, root.path / "pictures")
        shutil.copytree(roots.ROOT / "models/demo", root.path / "demo")
        start = time.monotonic()
        root.run("python3", "-m", "venv", "/venv")
        root.run("/venv/bin/pip", "install", "-q", "--no-index", "--find-links=/beside", "embedd[server]", beside=house)
        root.seconds = time.monotonic() - start
        yield root


def test_it_serves_and_its_vectors_are_those_of_the_build(root, wheels, expected):
    start = time.monotonic()
    server = root.start("/venv/bin/embedd", "--model", "/demo", "--listen", "127.0.0.1:0", "--http", "off", "--log-format", "text")
    target = roots.address(server)
    got = json.loads(root.run("/venv/bin/python", "-c", _EMBED, target).stdout.splitlines()[-1])  # the client says that it waited
    seconds = time.monotonic() - start
    assert got["texts"] == [1, 128]
    difference = float(np.abs(np.array(got["vectors"], np.float32) - expected).max())
    assert difference <= 1e-6
    assert "READY" in root.run("/venv/bin/embedctl", "--target", target, "info").stdout
    assert roots.drained(server) == 0

    site = root.path / "venv/lib/python3.11/site-packages"
    own = roots.megabytes(site / "embedd_server", site / "embedd_server.libs")
    wheel = next(wheels.glob("embedd_server*.whl"))
    print(f"\n    wheel {wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, unpacked {own:.1f} MB; the environment, torch included: "
          f"{roots.megabytes(site):.0f} MB\n    pip install from files {root.seconds:.0f} s; from start to vectors {seconds:.1f} s; "
          f"largest difference {difference:.1e}")  # fmt: skip


def test_pull_is_a_command_of_it(root):
    said = root.run("/venv/bin/embedd", "pull", "--help").stdout
    assert "HF_ENDPOINT" in said
    done = root.run("/venv/bin/embedd", "pull", "someone/model", check=False, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1 and "Traceback" not in done.stdout


def test_without_torch_and_with_another_it_says_what_to_do(root):
    root.run("/venv/bin/pip", "uninstall", "-y", "-q", "torch")
    done = root.run("/venv/bin/embedd", "--model", "/demo", check=False)
    assert done.returncode == 5 and "PyTorch is not installed" in done.stdout and "pip install 'torch==2." in done.stdout
    assert "/venv" in done.stdout


def test_what_it_carries_may_be_carried(wheels):
    wheel = zipfile.ZipFile(next(wheels.glob("embedd_server*.whl")))
    names = wheel.namelist()
    carried = [re.sub(r"-[0-9a-f]{8}", "", name.split("/")[1], count=1) for name in names if name.startswith("embedd_server.libs/lib")]
    assert len(carried) > 20 and not [name for name in carried if re.match("libjbig|libtorch|libc10|libcuda", name)]
    for name in carried:
        assert licences.licence_of(name, "the wheel")
    texts = {name.rsplit("/", 1)[1] for name in names if ".dist-info/licenses/" in name}
    for package in ("LICENSE", "libtiff.txt", "libde265-0.txt", "libicu72.txt", "libgrpc++1.51.txt", "common-LGPL-3.txt"):
        assert package in texts, sorted(texts)
    assert any(name.endswith(".cdx.json") for name in names), "no SBOM"
    metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert re.search(r"Requires-Dist: torch==2\.\d+\.\*", metadata) and "Requires-Dist: embedd[pull]==" in metadata


def test_its_tag_is_true(wheels):
    """No symbol of the C library is newer than the tag says."""
    path = next(wheels.glob("embedd_server*.whl"))
    tagged = max(tuple(map(int, found)) for found in re.findall(r"manylinux_(\d+)_(\d+)_", path.name))
    with zipfile.ZipFile(path) as wheel:
        wanted = {tuple(map(int, v)) for name in wheel.namelist() if "/bin/" in name or ".libs/" in name
                  for v in re.findall(rb"GLIBC_(\d+)\.(\d+)", wheel.read(name))}  # fmt: skip
    assert max(wanted) <= tagged, (max(wanted), tagged)
