# SPDX-License-Identifier: Apache-2.0
"""What is taken as an image, and that its pixels and bytes travel unchanged."""

import io
import os
import pathlib
import tempfile
import threading
import traceback

import numpy as np
import pytest
from PIL import Image

from embedd import ImageRejected, _formats, _inputs
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
        (np.array(3, np.uint8), TypeError, "cannot embed numpy.ndarray"),
        (bytes, TypeError, "cannot embed type"),
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
    client._connection().pool.replicas[0].limits = None
    with pytest.raises(ImageRejected, match="max-message-bytes"):
        client.embed_images(np.zeros((60, 60, 3), np.uint8))


def test_calls_are_cut_by_count_and_by_bytes():
    def sizes(planner, items):
        made = [_inputs.Item(index, b"", size, "") for index, size in enumerate(items)]
        return [[item.size for item in call] for call in planner.cut(iter(made))]

    assert sizes(_inputs.Planner(2, 100), [1, 1, 1, 1, 1]) == [[1, 1], [1, 1], [1]]
    assert sizes(_inputs.Planner(9, 100), [60, 40, 1, 200, 1]) == [[60, 40], [1], [200], [1]]
    assert sizes(_inputs.Planner(9, 100), []) == []


def test_paths_may_be_anything_with_fspath(client, tmp_path):
    class Place:
        def __fspath__(self):
            return str(tmp_path / "a")

    (tmp_path / "a").write_bytes(b"content")
    assert np.array_equal(client.embed_images(Place())[0], vector(b"content"))


@pytest.mark.parametrize("opened", ["file", "bytesio", "spooled"])
def test_an_open_file_is_one_picture_read_from_its_start(server, make_client, tmp_path, opened):
    content = b"line one\nline two\nline three\n"
    path = tmp_path / "picture"
    path.write_bytes(content)

    def make():
        if opened == "file":
            return open(path, "rb")  # noqa: SIM115 - closed below
        one = io.BytesIO() if opened == "bytesio" else tempfile.SpooledTemporaryFile()
        one.write(content)  # and stands at its end now, as after Image.save
        return one

    client = make_client(server.target)
    with make() as single, make() as other:
        assert np.array_equal(client.embed_images(single), vectors([content]))
        assert np.array_equal(client.embed_images([other, b"x", other]), vectors([content, b"x", content]))
        assert [one.error for one in client.embed_stream(single)] == [None]
    streamed = list(client.embed_stream(iter([make()])))
    assert len(streamed) == 1 and np.array_equal(streamed[0].vector, vector(content))


def test_files_that_cannot_be_read_fail_alone_and_text_files_are_a_mistake(client, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(b"x")
    closed = open(path, "rb")  # noqa: SIM115
    closed.close()
    result = client.embed_images_detailed([closed, b"good", io.BytesIO()])
    assert [(error.index, error.reason) for error in result.errors] == [(0, "UNREADABLE"), (2, "EMPTY_IMAGE")]
    with open(path) as text, pytest.raises(TypeError, match="'rb'"):
        client.embed_images([text])


BAD_PATHS = ["a\0b.jpg", "\ud800.jpg", "x" * 300_000, "data:image/jpeg;base64," + "QUJD" * 100_000, "QUJD" * 100_000]


@pytest.mark.parametrize("wrap", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("bad", BAD_PATHS, ids=["nul", "surrogate", "long", "data-uri", "base64"])
def test_a_path_that_no_file_system_takes_fails_alone_with_a_short_message(server, make_client, bad, wrap):
    client = make_client(server.target)
    result = client.embed_images_detailed(wrap([b"a", bad, pathlib.PurePosixPath(bad), b"b"]))
    assert [(error.index, error.reason) for error in result.errors] == [(1, "UNREADABLE"), (2, "UNREADABLE")]
    assert np.array_equal(result.vectors[[0, 3]], vectors([b"a", b"b"]))
    streamed = list(client.embed_stream(wrap([b"a", bad, (bad, b"b"), (bad, bad)])))
    assert [one.error is None for one in streamed] == [True, False, True, False]
    for error in [*result.errors, *(one.error for one in streamed if one.error)]:
        for shown in (str(error), repr(error), error.source, "".join(traceback.format_exception(error))):
            assert len(shown) < 1000
            shown.encode("utf-8")
    with pytest.raises(ImageRejected):
        client.embed_images(bad)


@pytest.mark.parametrize(
    "text, says",
    [
        ("data:image/jpeg;base64," + "QUJD" * 1000, "data URI"),
        ("QUJD" * 1000, "base64.b64decode"),
        ("/9j/" + "4AAQSkZJRg/ABC+" * 40, "base64.b64decode"),
        ("https://example.com/cat.jpg", "URL"),
        ("<svg xmlns='x'></svg>", "HTML or XML"),
    ],
)
def test_text_that_is_no_path_is_told_what_it_looks_like(client, text, says):
    with pytest.raises(ImageRejected, match=says):
        client.embed_images(text)


def test_an_ordinary_missing_file_is_not_taken_for_anything_else(client):
    for name in ("pictures/holiday-in-the-mountains/IMG_2034.jpg", "cat.jpg", "/data/" + "a" * 64 + "/x"):
        with pytest.raises(ImageRejected, match="No such file") as caught:
            client.embed_images(name)
        assert "looks like" not in str(caught.value) and caught.value.source == name


def test_formats_that_the_server_reads_travel_as_they_are_and_others_as_pixels_said_once(
    server, make_client, caplog, monkeypatch
):
    monkeypatch.setattr(_formats, "_told", set())
    image = Image.fromarray(pixels())
    files = {kind: file_bytes(image, kind) for kind in ("PNG", "GIF", "BMP", "TIFF")}
    client = make_client(server.target)
    # A server that does not say what it reads gets everything as it is.
    assert np.array_equal(client.embed_images(list(files.values())), vectors(list(files.values())))
    server.formats = ["jpeg", "png", "webp", "bmp"]
    client = make_client(server.target)
    raw = {kind: Image.open(io.BytesIO(data)).convert("RGB").tobytes() for kind, data in files.items()}
    expected = vectors([files["PNG"], files["BMP"], raw["GIF"], raw["TIFF"], raw["GIF"], b"what is this"])
    held = [files["PNG"], files["BMP"], files["GIF"], io.BytesIO(files["TIFF"]), files["GIF"], b"what is this"]
    assert np.array_equal(client.embed_images(held), expected)
    assert np.array_equal(np.stack([one.vector for one in client.embed_stream(held)]), expected)
    assert caplog.text.count("does not read GIF") == caplog.text.count("does not read TIFF") == 1
    assert "BMP" not in caplog.text and "PNG" not in caplog.text


def test_files_decoded_here_are_held_a_call_at_a_time(server, make_client):
    pixel_bytes = 3 << 20
    files = [file_bytes(Image.new("RGB", (1024, 1024), (number, 0, 0)), "GIF") for number in range(40)]
    assert max(map(len, files)) < 100_000
    server.formats = ["jpeg"]
    client = make_client(server.target)
    client.embed_images(files[:1])
    rows = client.embed_images(files, batch_size=40)
    assert np.array_equal(rows, vectors([bytes((number, 0, 0)) * (pixel_bytes // 3) for number in range(40)]))
    assert max(server.sizes) <= 8 << 20


def test_views_of_bytes_need_not_be_contiguous(client):
    view = memoryview(b"a-b-c-d-")[::2]
    grey = memoryview(np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)))
    assert np.array_equal(client.embed_images([view, grey]), vectors([b"abcd", bytes(range(6))]))
    empty = memoryview(np.zeros((0, 3), np.uint8))
    assert client.embed_images_detailed([empty]).errors[0].reason == "EMPTY_IMAGE"


def test_a_broken_or_too_large_file_of_a_format_decoded_here_fails_alone(server, client):
    server.formats = ["jpeg", "png", "webp"]
    server.limits.max_pixels = 5 * 7
    good = file_bytes(Image.fromarray(pixels()), "TIFF")
    large = file_bytes(Image.fromarray(pixels(5, 8)), "TIFF")
    result = client.embed_images_detailed([good, good[:60], large])
    assert [(error.index, error.reason) for error in result.errors] == [(1, "UNREADABLE"), (2, "UNREADABLE")]
    assert "--max-pixels" in str(result.errors[1])


def test_without_pillow_the_server_gets_the_file_and_the_log_the_advice(server, client, monkeypatch, caplog):
    monkeypatch.setattr(_formats, "_told", set())
    gif = file_bytes(Image.fromarray(pixels()), "GIF")
    server.formats = ["jpeg"]
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert np.array_equal(client.embed_images(gif), vectors([gif]))
    assert "pip install Pillow" in caplog.text


def test_formats_are_told_apart_by_their_first_bytes():
    image = Image.fromarray(pixels(16, 16))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "PPM"):
        assert _formats.kind(file_bytes(image, kind)) == kind.lower()
    for brand, name in ((b"avif", "avif"), (b"heic", "heic"), (b"mif1", "heic"), (b"qt  ", "")):
        assert _formats.kind(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0") == name
    assert _formats.kind(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif") == "avif"
    assert _formats.kind(b"<html>") == _formats.kind(b"") == ""
