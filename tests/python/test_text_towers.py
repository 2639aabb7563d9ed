# SPDX-License-Identifier: Apache-2.0
"""Texts through the whole server, with the demo model's text tower: open_clip's vectors, mixed calls, --towers.

Skips aloud when the binary is not built (EMBEDD_BUILD_DIR names another build folder).
"""

import json
import subprocess
import urllib.request
import warnings

import grpc
import numpy as np
import open_clip
import pytest
import torch

import embedd
import real_server
from embedd import EmbedClient
from embedd.v1 import embedding_service_pb2 as pb
from embedd.v1 import embedding_service_pb2_grpc as pb_grpc
from real_server import BINARY, MODEL, RealServer

if real_server.missing():
    warnings.warn(f"NOT TESTED against the real server: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)

TEXTS = ["a red star", "two small blue rings", "", "A GREEN Triangle &amp; more " * 20, "ünïcödé 🙂", "it’s “quoted”"]
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def truth():
    model = open_clip.create_model_and_transforms(f"local-dir:{MODEL}")[0].eval()
    with torch.no_grad():
        return model.encode_text(open_clip.get_tokenizer(f"local-dir:{MODEL}")(TEXTS), normalize=True).numpy()


@pytest.fixture(scope="module")
def server():
    with RealServer(pages=True) as server:
        yield server


def embed(server, *inputs, **more):
    """One call of EmbedBatch: the rows, and the response."""
    with grpc.insecure_channel(server.target) as channel:
        response = pb_grpc.EmbeddingServiceStub(channel).EmbedBatch(pb.EmbedBatchRequest(inputs=inputs, **more), timeout=60)
    return np.frombuffer(response.data, "<f4").reshape(len(inputs), -1), response


def raw(pixels):
    return pb.Input(raw_image=pb.RawImage(width=pixels.shape[1], height=pixels.shape[0], rgb=pixels.tobytes()))


def test_texts_become_open_clips_vectors_alone_and_in_batches(server, truth):
    with EmbedClient(server.target) as client:
        assert np.abs(client.embed_texts(TEXTS) - truth).max() <= 1e-5
        assert np.abs(client.embed_texts(TEXTS * 100) - np.tile(truth, (100, 1))).max() <= 1e-5
        alone = np.concatenate([client.embed_texts([text]) for text in TEXTS])
        assert np.abs(alone - truth).max() <= 1e-5


def test_a_call_may_hold_images_and_texts_and_each_device_batch_holds_one_kind(server, truth):
    image, _ = embed(server, raw(PIXELS))
    rows, response = embed(server, pb.Input(text=TEXTS[0]), raw(PIXELS), pb.Input(text=TEXTS[1]))
    assert not response.errors
    assert np.abs(rows[[0, 2]] - truth[:2]).max() <= 1e-5
    assert np.abs(rows[1] - image[0]).max() <= 1e-5
    assert response.timing.batches in (2, 3)  # the first text may have gone alone
    with urllib.request.urlopen(f"http://{server.http}/batches", timeout=10) as reply:
        records = json.load(reply)
    assert {record["tower"] for record in (records if isinstance(records, list) else records["batches"])} == {"image", "text"}


def test_the_fingerprint_of_either_tower_or_the_pair_is_expected(server):
    with EmbedClient(server.target) as client:
        model = client.server_info().model
    image, text = model.fingerprint, model.text_fingerprint
    assert text and image != text
    kinds = {image: [raw(PIXELS)], text: [pb.Input(text="a")], f"{image}+{text}": [raw(PIXELS), pb.Input(text="a")]}
    for fingerprint, inputs in kinds.items():
        assert embed(server, *inputs, expect_fingerprint=fingerprint)[1].model_fingerprint == fingerprint
        assert embed(server, *inputs, expect_fingerprint=f"{image}+{text}")[1].model_fingerprint == fingerprint
        with pytest.raises(grpc.RpcError) as refused:
            embed(server, *inputs, expect_fingerprint="0" * 32)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError):
        embed(server, raw(PIXELS), pb.Input(text="a"), expect_fingerprint=image)


def test_the_server_says_what_its_text_tower_is(server):
    with EmbedClient(server.target) as client:
        model = client.server_info().model
    assert list(model.towers) == ["image", "text"]
    assert (model.text_context_length, model.text_lowercases, model.similarity) == (24, True, "cosine")
    assert 1 < model.logit_scale <= 100.001 and not model.HasField("logit_bias")


def test_towers_narrows_what_is_served():
    with RealServer("--towers", "image") as server:
        rows, response = embed(server, pb.Input(text="a"), raw(PIXELS))
        assert [(e.index, e.reason) for e in response.errors] == [(0, "TEXT_NOT_SUPPORTED")]
        assert not rows[0].any() and rows[1].any()
    with RealServer("--towers", "text") as server:
        rows, response = embed(server, pb.Input(text="a"), raw(PIXELS))
        assert [(e.index, e.reason) for e in response.errors] == [(1, "IMAGE_NOT_SUPPORTED")]
        with EmbedClient(server.target) as client:
            model = client.server_info().model
        assert list(model.towers) == ["text"]
        assert not model.HasField("logit_scale") and not model.similarity  # there is nothing to compare with


def test_a_folder_without_a_vocabulary_serves_images_and_says_why(tmp_path):
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        (tmp_path / name).symlink_to(MODEL / name)
    with RealServer(model=tmp_path) as server:
        assert embed(server, raw(PIXELS))[0].any()
        with EmbedClient(server.target) as client:
            assert list(client.server_info().model.towers) == ["image"]
    run = subprocess.run([str(BINARY), "--model", str(tmp_path), "--towers", "text", "--listen", "127.0.0.1:0", "--http", "off"],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 3
    assert "tokenizer" in run.stderr


def test_the_pair_of_fingerprints_names_the_model_for_calls_of_one_kind(server):
    with EmbedClient(server.target) as client:
        model = client.server_info().model
        pair = f"{model.fingerprint}+{model.text_fingerprint}"
        assert client.embed_images_detailed([PIXELS], expect_fingerprint=pair).fingerprint == model.fingerprint
        assert client.embed_texts_detailed(TEXTS * 30, expect_fingerprint=pair).fingerprint == model.text_fingerprint
        for stream, inputs, wanted in ((client.embed_stream, [PIXELS] * 3, model.fingerprint),
                                       (client.embed_texts_stream, TEXTS, model.text_fingerprint)):
            assert {one.fingerprint for one in stream(inputs, expect_fingerprint=pair)} == {wanted}
        for wrong in (f"{model.text_fingerprint}+{model.fingerprint}", model.fingerprint + "+"):
            with pytest.raises(embedd.ModelMismatch):
                client.embed_texts(TEXTS, expect_fingerprint=wrong)
