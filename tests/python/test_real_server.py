# SPDX-License-Identifier: Apache-2.0
"""The client against the real embedd with the demo model: pictures in, vectors out, through restarts and overload.

Skipped, with a warning, where build/dev/bin/embedd (or EMBEDD_BUILD_DIR) or models/demo is missing.
"""

import io
import os
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw

import embedd
import real_server
from embedd import EmbedClient
from real_server import RealServer

if real_server.missing():
    warnings.warn(f"NOT TESTED against the real server: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)

# Batches of different sizes add up in different orders; vectors of norm 1 differ by less than this.
CLOSE = 1e-5
COUNT = 64


def picture(seed, size=(96, 80)):
    """A drawn picture, different for every seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(value) for value in rng.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, w, h = (int(value) for value in rng.integers(0, 60, 4))
        draw.ellipse((x, y, x + w + 4, y + h + 4), tuple(int(value) for value in rng.integers(0, 256, 3)))
    return image


def encoded(image, kind="PNG"):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


@pytest.fixture
def make_client(make_client):
    """As in conftest.py, with the patience that a loaded machine needs."""
    return lambda target, **keywords: make_client(target, **{"timeout": 120, **keywords})


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def real():
    with RealServer() as server:
        yield server


@pytest.fixture(scope="module")
def expected(real, pictures):
    """The vectors of `pictures`, one call each."""
    with EmbedClient(real.target) as client:
        return np.concatenate([client.embed_images(image) for image in pictures])


def test_fast_decode_has_a_fingerprint_of_its_own_and_nearly_the_same_vectors(real, make_client):
    large = [encoded(picture(seed).resize((1440, 1200), Image.BICUBIC), "JPEG") for seed in range(8)]
    exact = make_client(real.target)
    with RealServer("--decode", "fast") as server:
        fast = make_client(server.target)
        cosines = (exact.embed_images(large) * fast.embed_images(large)).sum(axis=1)
        assert exact.server_info().model.fingerprint != fast.server_info().model.fingerprint
        small = encoded(picture(1), "JPEG")  # has nothing to leave out
        assert np.abs(exact.embed_images(small) - fast.embed_images(small)).max() <= CLOSE
    assert 0.999 < cosines.min() < 1 - 1e-9


def test_files_bytes_pil_images_and_arrays_of_one_picture_have_one_vector(real, make_client, tmp_path):
    image = picture(1)
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(image))
    got = make_client(real.target).embed_images([path, str(path), encoded(image), image, np.asarray(image)])
    assert got.shape == (5, 128) and got.dtype == np.float32
    assert np.abs(got - got[0]).max() <= CLOSE
    assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_many_pictures_have_the_vectors_they_have_alone(real, make_client, pictures, expected):
    client = make_client(real.target)
    assert np.abs(client.embed_images(pictures) - expected).max() <= CLOSE
    assert np.abs(client.embed_images(iter(pictures), batch_size=13) - expected).max() <= CLOSE
    # Different pictures do have different vectors, or nothing above means anything.
    nearest = (expected @ expected.T).argmax(axis=1)
    assert (nearest == np.arange(COUNT)).all()


def test_a_stream_gives_the_same_vectors(real, make_client, pictures, expected):
    results = list(make_client(real.target).embed_stream((f"p{i}", image) for i, image in enumerate(pictures)))
    assert [result.id for result in results] == [f"p{i}" for i in range(COUNT)]
    assert np.abs(np.stack([result.vector for result in results]) - expected).max() <= CLOSE


def test_vectors_are_those_of_open_clip(real, pictures, expected):
    open_clip = pytest.importorskip("open_clip")
    torch = pytest.importorskip("torch")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{real_server.MODEL}")
    model.eval()
    with torch.no_grad():
        theirs = model.encode_image(torch.stack([preprocess(image) for image in pictures]), normalize=True).numpy()
    worst = (theirs * expected).sum(axis=1).min()
    print(f"cosine with open_clip: at least {worst:.7f} over {COUNT} pictures")
    assert worst >= 0.999999


def test_dtype_and_normalize_are_followed(real, make_client, pictures, expected):
    client = make_client(real.target)
    half = client.embed_images(pictures[:20], dtype="float16")
    assert half.dtype == np.float16 and np.abs(half - expected[:20]).max() < 1e-3
    free = client.embed_images(pictures[:20], normalize=False)
    lengths = np.linalg.norm(free, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.01 and np.abs(free / lengths - expected[:20]).max() < 1e-4


def test_bad_images_fail_alone_with_the_servers_reasons(real, make_client, pictures, expected):
    jpeg = encoded(pictures[0].resize((400, 300)), "JPEG")
    mixed = [pictures[0], b"this is no picture", pictures[1], jpeg[: len(jpeg) // 2], pictures[2], b""]
    result = make_client(real.target).embed_images_detailed(mixed)
    assert [(error.index, error.reason) for error in result.errors] == [
        (1, "UNSUPPORTED_FORMAT"),
        (3, "CORRUPT_IMAGE"),
        (5, "EMPTY_IMAGE"),
    ]
    assert np.abs(result.vectors[result.ok] - expected[:3]).max() <= CLOSE
    assert np.isnan(result.vectors[~result.ok]).all()
    with pytest.raises(embedd.ImageRejected, match=r"images\[1\]"):
        make_client(real.target).embed_images(mixed[:5])


def test_server_info_tells_what_the_client_relies_on(real, make_client):
    client = make_client(real.target)
    info = client.server_info()
    assert info.model.dimension == 128 and info.device == "cpu" and info.state == info.READY
    assert info.limits.max_inputs_per_request == 1024 and info.limits.max_message_bytes == 64 << 20
    result = client.embed_images_detailed([picture(3)], expect_fingerprint=info.model.fingerprint)
    assert result.fingerprint == info.model.fingerprint
    assert result.calls[0].execute > 0 and result.calls[0].batches == 1
    with pytest.raises(embedd.ModelMismatch):
        client.embed_images(picture(3), expect_fingerprint="another")


def test_impossible_deadlines_fail_as_such(real, make_client, pictures):
    client = make_client(real.target)
    client.server_info()
    with pytest.raises(embedd.DeadlineExceeded):
        client.embed_images(pictures[:16], timeout=0.001)


def test_calls_are_cut_to_the_servers_limits(pictures, expected):
    with RealServer("--max-message-bytes", "100000", "--max-image-bytes", "50000", "--max-inputs", "3") as server:
        with EmbedClient(server.target) as client:
            result = client.embed_images_detailed(pictures[:30], batch_size=64)
            assert np.abs(result.vectors - expected[:30]).max() <= CLOSE
            assert max(call.images for call in result.calls) == 3
            with pytest.raises(embedd.ImageRejected, match="max-image-bytes"):
                client.embed_images(b"\xff\xd8" + bytes(60_000))


def test_an_overloaded_server_is_waited_for_by_everybody(pictures, expected):
    with RealServer("--queue-images", "8") as server, EmbedClient(server.target) as client:

        def job(start):
            got = client.embed_images(pictures[start : start + 8], batch_size=4, priority="bulk")
            return np.abs(got - expected[start : start + 8]).max()

        with ThreadPoolExecutor(8) as pool:
            assert max(pool.map(job, range(0, COUNT, 8))) <= CLOSE


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_job_survives_a_restart_of_the_server(pictures, expected, how):
    servers = [RealServer()]
    port = servers[0].target.rpartition(":")[2]

    def source():
        for number, index in enumerate(np.tile(np.arange(COUNT), 4)):
            if number == 100:
                # A drain waits for the calls under way; nobody has to wait for that here.
                assert getattr(servers[-1], how)() in (None, 0)
                servers.append(RealServer(listen=f"127.0.0.1:{port}"))
            yield pictures[index]

    try:
        with EmbedClient(f"127.0.0.1:{port}") as client:
            got = client.embed_images(source(), batch_size=8)
    finally:
        servers[-1].kill()
    assert len(servers) == 2
    assert np.abs(got - np.tile(expected, (4, 1))).max() <= CLOSE


def test_tokens_are_wanted_and_given(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("a-secret-of-the-test")
    with RealServer("--token-file", str(secret), token="a-secret-of-the-test") as server:
        with EmbedClient(server.target) as client, pytest.raises(embedd.Unauthenticated, match="token="):
            client.embed_images(picture(1))
        with EmbedClient(server.target, token=lambda: secret.read_text()) as client:
            assert client.embed_images(picture(1)).shape == (1, 128)


def test_unix_sockets_are_targets_like_others():
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{os.path.join(folder, 'embedd.sock')}"
        with RealServer(listen=address) as server, EmbedClient(address) as client:
            assert server.target.startswith("unix:")
            assert client.embed_images(picture(1)).shape == (1, 128)
