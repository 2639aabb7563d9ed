# SPDX-License-Identifier: Apache-2.0
"""What is taken as an image, and that its pixels and bytes travel unchanged."""

import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

from embedd import ImageRejected, _images
from fake_server import vector, vectors


def pixels(height=5, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def file_bytes(image, kind):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def test_every_accepted_kind_reaches_the_server_unchanged(server, make_client, tmp_path):
    array = pixels()
    png = file_bytes(Image.fromarray(array), "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(png)
    held = [str(path), path, png, bytearray(png), memoryview(png), Image.fromarray(array), array]
    raw = array.tobytes()
    expected = vectors([png] * 5 + [raw] * 2)
    client = make_client(server.target)
    assert np.array_equal(client.embed_images(held), expected)
    assert np.array_equal(client.embed_images(iter(held)), expected)
    for image, row in zip(held, expected):
        one = client.embed_images(image)
        assert one.shape == (1, 16) and np.array_equal(one[0], row)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA", "I;16"])
def test_pil_images_of_other_modes_are_sent_as_pillow_converts_them(client, mode):
    image = Image.fromarray(pixels()).convert("RGB")
    image = Image.fromarray(np.arange(35, dtype=np.uint16).reshape(5, 7)) if mode == "I;16" else image.convert(mode)
    assert np.array_equal(client.embed_images(image)[0], vector(image.convert("RGB").tobytes()))


def test_a_pil_image_opened_from_a_jpeg_is_sent_as_its_pixels_not_compressed_anew(client):
    jpeg = file_bytes(Image.fromarray(pixels(64, 64)), "JPEG")
    image = Image.open(io.BytesIO(jpeg))
    assert np.array_equal(client.embed_images(image)[0], vector(image.convert("RGB").tobytes()))


def test_one_lazy_pil_image_many_times_in_a_list_is_read_safely(client):
    image = Image.open(io.BytesIO(file_bytes(Image.fromarray(pixels(64, 64)), "PNG")))
    got = client.embed_images([image] * 300, batch_size=7)
    assert np.array_equal(got, np.repeat(got[:1], 300, axis=0))


def test_grey_arrays_become_rgb_as_in_pillow(client):
    grey = pixels()[:, :, 0]
    expected = vector(Image.fromarray(grey).convert("RGB").tobytes())
    assert np.array_equal(client.embed_images(grey)[0], expected)


def test_an_array_with_four_axes_is_many_images_and_views_need_not_be_contiguous(client):
    stack = np.stack([pixels(seed=seed) for seed in range(3)])
    assert np.array_equal(client.embed_images(stack), vectors([one.tobytes() for one in stack]))
    turned = stack[:, ::-1, ::2]
    assert np.array_equal(client.embed_images(turned), vectors([one.tobytes() for one in turned]))


def test_a_generator_may_reuse_or_close_what_it_gave_away(server, make_client, tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(pixels()).save(path)
    buffer = np.zeros((4, 4, 3), np.uint8)

    def frames():
        for value in range(100):
            buffer[:] = value
            yield buffer
        for _ in range(100):
            with Image.open(path) as image:
                yield image

    got = make_client(server.target).embed_images(frames(), batch_size=9)
    expected = [bytes([value]) * 48 for value in range(100)] + [pixels().tobytes()] * 100
    assert np.array_equal(got, vectors(expected))


@pytest.mark.parametrize(
    "wrong, kind, says",
    [
        (np.zeros((4, 4, 3), np.float32), TypeError, "uint8"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"\[:, :, :3\]"),
        (np.zeros((3, 4, 5), np.uint8), ValueError, "transpose"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "no pixels"),
        ([3], TypeError, "images.0., int"),
        (3, TypeError, "int"),
        ({"a": b"x"}, TypeError, "dict"),
        (None, TypeError, "NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_the_fix(client, wrong, kind, says):
    with pytest.raises(kind, match=says):
        client.embed_images(wrong)


@pytest.mark.parametrize("name, content, reason", [("absent", None, "UNREADABLE"), ("empty", b"", "EMPTY_IMAGE")])
def test_a_file_that_cannot_be_sent_fails_alone(server, make_client, tmp_path, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    client = make_client(server.target)
    with pytest.raises(ImageRejected, match=name) as caught:
        client.embed_images([b"good", path])
    assert (caught.value.index, caught.value.reason, caught.value.source) == (1, reason, str(path))
    result = client.embed_images_detailed([b"good", path, b"other"])
    assert np.array_equal(result.vectors[[0, 2]], vectors([b"good", b"other"]))
    assert np.isnan(result.vectors[1]).all() and [error.index for error in result.errors] == [1]


def test_a_pipe_is_read_like_a_file_up_to_the_limit(server, client, tmp_path):
    server.limits.max_image_bytes = 1000
    for size, fits in ((1000, True), (1001, False)):
        pipe = tmp_path / str(size)
        os.mkfifo(pipe)
        writer = threading.Thread(target=lambda: pipe.write_bytes(b"x" * size))  # noqa: B023 - joined in the loop
        writer.start()
        result = client.embed_images_detailed(pipe)
        writer.join()
        assert result.ok.tolist() == [fits]
        assert fits or result.errors[0].reason == "IMAGE_TOO_LARGE"


def test_a_broken_pil_image_fails_alone(client):
    png = file_bytes(Image.fromarray(pixels(64, 64)), "PNG")
    broken = [Image.open(io.BytesIO(png[:200]))]
    for images in (broken + [b"x"], iter([Image.open(io.BytesIO(png[:200])), b"x"])):
        result = client.embed_images_detailed(images)
        assert [(error.index, error.reason) for error in result.errors] == [(0, "UNREADABLE")]
        assert np.array_equal(result.vectors[1], vector(b"x"))


def test_images_over_the_servers_limits_are_refused_here_and_not_sent(server, client, tmp_path):
    server.limits.max_image_bytes = 100
    path = tmp_path / "large.jpg"
    path.write_bytes(b"x" * 101)
    for image in (path, b"x" * 101):
        with pytest.raises(ImageRejected, match="100") as caught:
            client.embed_images(image)
        assert caught.value.reason == "IMAGE_TOO_LARGE"
    assert client.embed_images(b"x" * 100).shape == (1, 16)
    server.limits.max_message_bytes = 8000
    client._connection().state.limits = None
    with pytest.raises(ImageRejected, match="max-message-bytes"):
        client.embed_images(np.zeros((60, 60, 3), np.uint8))


def test_calls_are_cut_by_count_and_by_bytes():
    def sizes(planner, items):
        made = [_images.Item(index, b"", size, "") for index, size in enumerate(items)]
        return [[item.size for item in call] for call in planner.cut(iter(made))]

    assert sizes(_images.Planner(2, 100), [1, 1, 1, 1, 1]) == [[1, 1], [1, 1], [1]]
    assert sizes(_images.Planner(9, 100), [60, 40, 1, 200, 1]) == [[60, 40], [1], [200], [1]]
    assert sizes(_images.Planner(9, 100), []) == []


def test_paths_may_be_anything_with_fspath(client, tmp_path):
    class Place:
        def __fspath__(self):
            return str(tmp_path / "a")

    (tmp_path / "a").write_bytes(b"content")
    assert np.array_equal(client.embed_images(Place())[0], vector(b"content"))
