# SPDX-License-Identifier: Apache-2.0
"""SigLIP2 NaFlex, whose images keep their shape, against transformers: as test_families.py does with the others."""

import numpy as np
import pytest
import torch
import transformers
import vocabularies
from families import SMALL, TEXTS, check_scale, check_sprung, compare, family_dump, ids_of, pil, randomise, unit
from PIL import Image

SHAPES = [(640, 480), (480, 640), (1920, 1080), (256, 256), (1, 1000), (1000, 1), (97, 3), (33, 260)]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Pictures of many shapes: those of NaFlex take from 252 to 256 patches of 256."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(6)
    files = []
    for width, height in SHAPES:
        y, x = np.mgrid[0:height, 0:width]
        smooth = np.stack([(x * c + y * (4 - c)) * 255 // (3 * max(width, height)) for c in (1, 2, 3)], -1)
        pixels = np.clip(smooth + rng.integers(-60, 60, smooth.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{width}x{height}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def naflex(patches=256, patch=16, **vision):
    return randomise(transformers.Siglip2Model(transformers.Siglip2Config(
        text_config={**SMALL, "num_hidden_layers": 1, "vocab_size": 300, "projection_size": vision.get("hidden_size", 144)},
        vision_config={**SMALL, "patch_size": patch, "num_patches": patches, **vision})))


def naflex_rows(model, processor, files):
    inputs = processor(images=[Image.open(f).convert("RGB") for f in files], return_tensors="pt")
    with torch.no_grad():
        return model.vision_model(**inputs).pooler_output.numpy(), inputs


@pytest.mark.parametrize("label, model, arguments", [
    ("SigLIP2 NaFlex", {}, {}),
    ("SigLIP2 NaFlex, so400m head of 72 and hidden width of 4304",
     {"num_attention_heads": 2, "intermediate_size": 4304, "num_hidden_layers": 4}, {}),
    ("SigLIP2 NaFlex, up to 1000 patches", {"num_hidden_layers": 3}, {"max_num_patches": 1000}),
    ("SigLIP2 NaFlex, 10 x 10 positions, patches of 14", {"patches": 100, "patch": 14, "num_hidden_layers": 3},
     {"patch_size": 14, "max_num_patches": 150}),
])
def test_images_of_any_shape(label, model, arguments, tmp_path, shapes):
    """Alone, and in batches of three shapes: the library fills all of them up to max_num_patches and masks."""
    model = naflex(**model)
    model.save_pretrained(tmp_path / "model")
    processor = pil("Siglip2ImageProcessor")(**arguments)
    processor.save_pretrained(tmp_path / "model")
    wanted, inputs = naflex_rows(model, processor, shapes)
    assert len({tuple(s) for s in inputs["spatial_shapes"].tolist()}) >= 6
    assert inputs["pixel_attention_mask"].sum(1).min() < inputs["pixel_attention_mask"].shape[1]
    said = compare(label, "Hugging Face", tmp_path / "model", "image", shapes, wanted)
    check_scale(model, said)


def test_the_order_of_pixels_in_a_patch_matters(tmp_path, shapes):
    """Row, column, channel: with the weight of the patches in the order of a convolution the vectors are others."""
    model = naflex(num_hidden_layers=1)
    processor = pil("Siglip2ImageProcessor")()
    wanted, _ = naflex_rows(model, processor, shapes[:2])
    weight = model.vision_model.embeddings.patch_embedding.weight
    with torch.no_grad():
        weight.copy_(weight.view(-1, 16, 16, 3).permute(0, 3, 1, 2).reshape(weight.shape))
    other, _ = naflex_rows(model, processor, shapes[:2])
    check_sprung(wanted, other)


@pytest.mark.parametrize("dtype, least", [("bf16", 0.995), ("f16", 0.9995)])
def test_images_of_any_shape_in_other_types(dtype, least, tmp_path, shapes):
    model = naflex(num_hidden_layers=4)
    model.save_pretrained(tmp_path / "model")
    processor = pil("Siglip2ImageProcessor")()
    processor.save_pretrained(tmp_path / "model")
    wanted, _ = naflex_rows(model, processor, shapes)
    rows, _ = family_dump(tmp_path / "model", "image", shapes, 3, dtype)
    cosines = (unit(rows) * unit(wanted)).sum(1)
    assert least <= cosines.min() < 1 - 1e-9, cosines


def test_texts_of_naflex(tmp_path, lines):
    folder = tmp_path / "model"
    folder.mkdir()
    size = vocabularies.gemma(folder, lines)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = randomise(transformers.Siglip2Model(transformers.Siglip2Config(
        text_config={**SMALL, "vocab_size": size, "projection_size": 144}, vision_config={**SMALL, "num_hidden_layers": 1})))
    model.save_pretrained(folder)
    pil("Siglip2ImageProcessor")().save_pretrained(folder)
    with torch.no_grad():
        wanted = model.text_model(ids_of(tokenizer, [t.lower() for t in TEXTS], 64)).pooler_output.numpy()
    compare("SigLIP2 NaFlex", "Hugging Face", folder, "text", TEXTS, wanted)
