# SPDX-License-Identifier: Apache-2.0
"""Every family that is served against its own library, from picture and text files to vectors.

Folders hold narrow models with real names whose every parameter is random (a bias of 0 or a gain of 1 would hide that it
is not read), saved as their library saves them. The library prepares pictures through Pillow and texts through its own
tokenizer. The worst difference of each family and kind of folder is the table of docs/models.md:
EMBEDD_WRITE_DOCS=1 writes it there.

Needs the programs family_dump and embedd (build targets of the same names); they are looked for in EMBEDD_BUILD_DIR, default build/dev.
"""

import json
import subprocess

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from PIL import Image
from safetensors.torch import save_file

import vocabularies
from families import LARGEST, SMALL, TEXTS, check_scale, check_sprung, compare, ids_of, pil, program, randomise, unit


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of other shapes than a tower's, none of them its own transpose."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    files = []
    for i, (width, height) in enumerate([(640, 480), (300, 500), (257, 256), (90, 70)]):
        y, x = np.mgrid[0:height, 0:width]
        smooth = np.stack([(x * (i + 1) + y * c * 2) // 3 % 256 for c in (1, 2, 3)], -1)
        pixels = np.clip(smooth + rng.integers(-40, 40, smooth.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(files[-1])
    # Alpha is dropped before anything else. open_clip's resize weighs pixels with it, transformers puts them on white.
    alpha = np.concatenate([pixels, rng.integers(0, 256, (*pixels.shape[:2], 1), np.uint8)], -1)
    files.append(folder / "alpha.png")
    Image.fromarray(alpha, "RGBA").save(files[-1])
    return files


# ---- Hugging Face folders -------------------------------------------------------------------------------------------

def hf_images(model, processor, files, rows):
    pixels = processor(images=[Image.open(f).convert("RGB") for f in files], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return rows(model, pixels).numpy()


def siglip(image=224, patch=16):
    config = transformers.SiglipConfig(
        text_config={**SMALL, "vocab_size": 300, "projection_size": 144},
        vision_config={**SMALL, "image_size": image, "patch_size": patch})
    return transformers.SiglipModel(config)


HF = {
    # family: model, class and arguments of the processor, what the rows are
    "SigLIP": (siglip, "SiglipImageProcessor", {}, lambda m, p: m.vision_model(p).pooler_output),
    "SigLIP, 378 by patches of 16": (lambda: siglip(378), "SiglipImageProcessor",
                                     {"size": {"height": 378, "width": 378}},
                                     lambda m, p: m.vision_model(p).pooler_output),
    "SigLIP2 (bilinear)": (siglip, "SiglipImageProcessor", {"resample": 2},
                           lambda m, p: m.vision_model(p).pooler_output),
    "DINOv2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(
        hidden_size=128, num_hidden_layers=12, num_attention_heads=2, image_size=518, patch_size=14)),
        "BitImageProcessor", {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406],
                              "image_std": [0.229, 0.224, 0.225]}, lambda m, p: m(p).pooler_output),
    "DINOv2 giant (SwiGLU)": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=2, image_size=518, patch_size=14,
        use_swiglu_ffn=True)), "BitImageProcessor", {"size": {"shortest_edge": 256}},
        lambda m, p: m(p).pooler_output),
    "DINOv2 with registers": (lambda: transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(
        hidden_size=128, num_hidden_layers=12, num_attention_heads=2, image_size=518, patch_size=14)),
        "BitImageProcessor", {"size": {"shortest_edge": 256}}, lambda m, p: m(p).pooler_output),
    "ViT": (lambda: transformers.ViTModel(transformers.ViTConfig(
        hidden_size=128, num_hidden_layers=12, num_attention_heads=2, intermediate_size=300)),
        "ViTImageProcessor", {}, lambda m, p: m(p).last_hidden_state[:, 0]),
    "CLIP": (lambda: transformers.CLIPModel(transformers.CLIPConfig(
        text_config={**SMALL, "vocab_size": 300, "eos_token_id": 2}, vision_config={**SMALL}, projection_dim=96)),
        "CLIPImageProcessor", {}, lambda m, p: m.visual_projection(m.vision_model(p).pooler_output)),
    "MetaCLIP 2 (images)": (lambda: transformers.MetaClip2Model(transformers.MetaClip2Config(
        text_config={**SMALL, "vocab_size": 300}, vision_config={**SMALL, "patch_size": 16}, projection_dim=96)),
        "CLIPImageProcessor", {}, lambda m, p: m.visual_projection(m.vision_model(p).pooler_output)),
    "Chinese CLIP (images)": (lambda: transformers.ChineseCLIPModel(transformers.ChineseCLIPConfig(
        text_config={**SMALL, "vocab_size": 300}, vision_config={**SMALL, "patch_size": 16}, projection_dim=96)),
        "ChineseCLIPImageProcessor", {}, lambda m, p: m.visual_projection(m.vision_model(p).pooler_output)),
}


@pytest.mark.parametrize("family", HF)
def test_images_of_hugging_face_folders(family, tmp_path, pictures):
    make, processor, arguments, rows = HF[family]
    model = randomise(make())
    model.save_pretrained(tmp_path / "model")
    processor = pil(processor)(**arguments)
    processor.save_pretrained(tmp_path / "model")
    wanted = hf_images(model, processor, pictures, rows)
    if family == "ViT":  # its pooler is untrained in most folders
        check_sprung(wanted, hf_images(model, processor, pictures, lambda m, p: m(p).pooler_output))
    said = compare(family, "Hugging Face", tmp_path / "model", "image", pictures, wanted)
    if "(images)" not in family:  # of two towers that are served; [1] in SigLIP's files, one number in CLIP's
        check_scale(model, said)


@pytest.mark.parametrize("gated", [False, True])
def test_images_of_dinov3(gated, tmp_path, pictures):
    model = randomise(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(
        hidden_size=128, num_hidden_layers=12, num_attention_heads=2, intermediate_size=300, num_register_tokens=4,
        use_gated_mlp=gated, hidden_act="silu" if gated else "gelu")))
    model.save_pretrained(tmp_path / "model")
    processor = transformers.DINOv3ViTImageProcessor()
    processor.save_pretrained(tmp_path / "model")
    compare("DINOv3" + (" (gated)" if gated else ""), "Hugging Face", tmp_path / "model", "image", pictures,
            hf_images(model, processor, pictures, lambda m, p: m(p).pooler_output))


# ---- open_clip folders with towers of timm --------------------------------------------------------------------------

NARROW = {"embed_dim": 128, "num_heads": 2, "depth": 12}
OPEN_CLIP = {
    # label: config of open_clip, changes to timm's tower
    "SigLIP": ("ViT-B-16-SigLIP", NARROW),
    "SigLIP, so400m head of 72": ("ViT-SO400M-14-SigLIP", {"embed_dim": 144, "num_heads": 2, "depth": 4}),
    "SigLIP2": ("ViT-B-16-SigLIP2", NARROW),
    "SigLIP2 (tanh tower)": ("ViT-B-32-SigLIP2-256", NARROW),
    "PE-Core": ("PE-Core-B-16", NARROW),
    "PE-Core (stretched)": ("PE-Core-S-16-384", NARROW),
    "EVA02": ("EVA02-B-16", {**NARROW, "mlp_ratio": 2730 / 1024}),
    "EVA02 L/14-336": ("EVA02-L-14-336", {**NARROW, "depth": 3, "mlp_ratio": 2730 / 1024}),
    "MobileCLIP2-L/14": ("MobileCLIP2-L-14", NARROW),
    "MobileCLIP2-B": ("MobileCLIP2-B", {"depth": 4}),
    "CLIP": ("ViT-B-32", {}),
}
FULL_WIDTH = {"MobileCLIP2-B"}  # its stem has no narrow form


def open_clip_model(label, monkeypatch, vocabulary=0):
    name, changes = OPEN_CLIP[label]
    config = json.loads(json.dumps(open_clip.get_model_config(name)))
    text = config["text_cfg"]
    text.update(width=128, heads=2, layers=12, vocab_size=300 if "hf_tokenizer_name" in text else 49408)
    if "timm_model_name" in config["vision_cfg"]:
        config["embed_dim"] = 768 if label in FULL_WIDTH else changes.get("embed_dim", 128)
        make = timm.create_model
        monkeypatch.setattr(timm, "create_model", lambda *a, **k: make(*a, **{**k, **changes}))
        monkeypatch.setattr(open_clip.timm_model, "timm", timm)
    else:
        config["vision_cfg"].update(width=128, head_width=64, layers=12)
        config["embed_dim"] = 96
    if label in FULL_WIDTH:
        text.update(layers=1)
    if vocabulary:
        text["vocab_size"] = vocabulary
    kwargs = dict(config)
    custom = kwargs.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**kwargs)
    return name, config, randomise(model)


def save_open_clip(folder, name, config, model):
    folder.mkdir()
    cfg = dict(open_clip.transform.PreprocessCfg(size=model.visual.image_size).__dict__)
    cfg.update({k: v for k, v in PREPROCESS.get(name.split("-")[0], {}).items()})
    if "SigLIP" in name:
        cfg.update(mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", resize_mode="squash")
    set_model_preprocess_cfg(model, cfg)
    save_config_for_hf(model, folder / "open_clip_config.json", config)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**cfg), is_train=False)


PREPROCESS = {"PE": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "resize_mode": "squash"},
              "MobileCLIP2": {"mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}}


@pytest.mark.parametrize("label", OPEN_CLIP)
def test_images_of_open_clip_folders(label, tmp_path, pictures, monkeypatch):
    name, config, model = open_clip_model(label, monkeypatch)
    transform = save_open_clip(tmp_path / "model", name, config, model)
    with torch.no_grad():
        wanted = model.encode_image(torch.stack([transform(Image.open(f).convert("RGB")) for f in pictures])).numpy()
    said = compare(label, "open_clip", tmp_path / "model", "image", pictures, wanted)
    check_scale(model, said)


# ---- plain timm folders ---------------------------------------------------------------------------------------------

TIMM = {
    # label: architecture, what is narrow
    "ViT": ("vit_base_patch16_224", {"embed_dim": 128, "num_heads": 2, "depth": 4}),
    "ViT, average of tokens": ("vit_base_patch32_224", {"embed_dim": 128, "num_heads": 2, "depth": 4, "global_pool": "avg"}),
    "DeiT III": ("deit3_base_patch16_224", {"embed_dim": 128, "num_heads": 2, "depth": 4}),
    "DINOv2": ("vit_base_patch14_dinov2", {"embed_dim": 128, "num_heads": 2, "depth": 2}),
    "DINOv2 with registers": ("vit_base_patch14_reg4_dinov2", {"embed_dim": 128, "num_heads": 2, "depth": 2}),
    "DINOv2 giant (SwiGLU)": ("vit_giant_patch14_dinov2", {"embed_dim": 128, "num_heads": 2, "depth": 2}),
    "SigLIP2": ("vit_base_patch16_siglip_224.v2_webli", {"embed_dim": 128, "num_heads": 2, "depth": 4}),
    "CLIP": ("vit_base_patch16_clip_quickgelu_224", {"embed_dim": 128, "num_heads": 2, "depth": 4}),
    "EVA02": ("eva02_base_patch14_224", {"embed_dim": 128, "num_heads": 2, "depth": 4}),
}


@pytest.mark.parametrize("label", TIMM)
def test_images_of_timm_folders(label, tmp_path, pictures):
    """The folder as timm saves it, with a classifier, against the model without one."""
    name, narrow = TIMM[label]
    model = randomise(timm.create_model(name, pretrained=False, num_classes=10, **narrow))
    timm.models.save_for_hf(model, tmp_path / "model", safe_serialization=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(f).convert("RGB")) for f in pictures])
        wanted = model.forward_head(model.forward_features(pixels), pre_logits=True).numpy()
    compare(label, "timm", tmp_path / "model", "image", pictures, wanted)
    if label == "ViT":  # as a training loop leaves it: timm takes what wraps a model off its names
        weights = {f"_orig_mod.module.{k}": v.contiguous() for k, v in model.state_dict().items()}
        save_file(weights, tmp_path / "model" / "model.safetensors")
        compare(label, "timm", tmp_path / "model", "image", pictures, wanted)


# ---- norms ----------------------------------------------------------------------------------------------------------

EMBEDDING = ("embed", "token", "conv1", "stem")  # what tokens are made of, before the first norm


def norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]


def shrink(model, part):
    """Tokens of a variance near the eps of the norms: elsewhere 1e-5 and 1e-12 give the same vectors to 1e-7."""
    factor = norms(part)[0].eps ** 0.5
    with torch.no_grad():
        for name, p in part.named_parameters():
            if any(word in name for word in EMBEDDING):
                p.mul_(factor)
    return model


def check_eps_matters(part, rows, wanted):
    """The test can see a wrong eps: with another one the library's own vectors are others."""
    kept = [(m, m.eps) for m in norms(part)]
    for module, eps in kept:
        module.eps = eps * 10
    with torch.no_grad():
        other = rows().numpy()
    for module, eps in kept:
        module.eps = eps
    assert np.abs(unit(other) - unit(wanted)).max() > 100 * LARGEST


@pytest.mark.parametrize("family", ["SigLIP", "DINOv2", "ViT", "CLIP"])
def test_the_eps_of_norms_in_hugging_face_folders(family, tmp_path, pictures):
    make, processor, arguments, rows = HF[family]
    model = randomise(make())
    shrink(model, getattr(model, "vision_model", model))
    model.save_pretrained(tmp_path / "model")
    processor = pil(processor)(**arguments)
    processor.save_pretrained(tmp_path / "model")
    wanted = hf_images(model, processor, pictures, rows)
    check_eps_matters(model, lambda: torch.from_numpy(hf_images(model, processor, pictures, rows)), wanted)
    compare(family + ", tiny tokens", "Hugging Face", tmp_path / "model", "image", pictures, wanted)


@pytest.mark.parametrize("label", ["SigLIP", "PE-Core", "EVA02", "MobileCLIP2-L/14", "CLIP"])
def test_the_eps_of_norms_in_open_clip_folders(label, tmp_path, pictures, monkeypatch):
    name, config, model = open_clip_model(label, monkeypatch)
    shrink(model, model.visual)
    transform = save_open_clip(tmp_path / "model", name, config, model)
    pixels = torch.stack([transform(Image.open(f).convert("RGB")) for f in pictures])
    with torch.no_grad():
        wanted = model.encode_image(pixels).numpy()
    check_eps_matters(model, lambda: model.encode_image(pixels), wanted)
    compare(label + ", tiny tokens", "open_clip", tmp_path / "model", "image", pictures, wanted)


def test_the_eps_of_norms_in_texts(tmp_path, lines, monkeypatch):
    vocabularies.unigram_json(tmp_path, lines)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=64, clean="canonicalize")
    name, config, model = open_clip_model("SigLIP", monkeypatch, len(tokenizer.tokenizer))
    shrink(model, model.text)
    save_open_clip(tmp_path / "model", name, config, model)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / file).write_bytes((tmp_path / file).read_bytes())
    ids = tokenizer(TEXTS)
    with torch.no_grad():
        wanted = model.encode_text(ids).numpy()
    check_eps_matters(model, lambda: model.encode_text(ids), wanted)
    compare("SigLIP, tiny tokens", "open_clip", tmp_path / "model", "text", TEXTS, wanted)


# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eos", [49407, 2])
def test_texts_of_hugging_face_clip(eos, tmp_path):
    """eos 2 stands in configs that are older than the correction of the pooling: then the greatest id is pooled."""
    model = randomise(transformers.CLIPModel(transformers.CLIPConfig(
        text_config={**SMALL, "vocab_size": 49408, "eos_token_id": eos, "bos_token_id": 0 if eos == 2 else 49406},
        vision_config={**SMALL, "num_hidden_layers": 1}, projection_dim=96)))
    model.save_pretrained(tmp_path / "model")
    pil("CLIPImageProcessor")().save_pretrained(tmp_path / "model")
    vocabularies.clip(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        wanted = model.text_projection(model.text_model(ids_of(tokenizer, TEXTS, 77)).pooler_output).numpy()
    compare("CLIP", "Hugging Face" + (", eos 2" if eos == 2 else ""), tmp_path / "model", "text", TEXTS, wanted)


def test_a_token_that_was_added_is_not_where_a_text_is_pooled(tmp_path):
    """Its id is greater than that of the end token, so the greatest id is not the end any more."""
    folder = tmp_path / "model"
    folder.mkdir()
    vocabularies.clip(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.add_tokens(["<cat>"]) == 1 and tokenizer.convert_tokens_to_ids("<cat>") == 49408
    tokenizer.save_pretrained(folder)
    model = randomise(transformers.CLIPModel(transformers.CLIPConfig(
        text_config={**SMALL, "vocab_size": 49409, "num_hidden_layers": 2}, projection_dim=96,
        vision_config={**SMALL, "num_hidden_layers": 1})))
    model.save_pretrained(folder)
    pil("CLIPImageProcessor")().save_pretrained(folder)
    texts = ["a photo of my <cat> on a sofa", *TEXTS[1:]]
    with torch.no_grad():
        wanted = model.text_projection(model.text_model(ids_of(tokenizer, texts, 77)).pooler_output).numpy()
    compare("CLIP, a token added", "Hugging Face", folder, "text", texts, wanted)


def test_a_folder_whose_towers_make_vectors_of_two_lengths_is_refused(tmp_path):
    model = transformers.SiglipModel(transformers.SiglipConfig(
        text_config={**SMALL, "num_hidden_layers": 1, "vocab_size": 300, "projection_size": 96},
        vision_config={**SMALL, "num_hidden_layers": 1}))
    model.save_pretrained(tmp_path / "model")
    pil("SiglipImageProcessor")().save_pretrained(tmp_path / "model")
    done = subprocess.run([program("embedd"), "--model", tmp_path / "model", "--listen", "127.0.0.1:0", "--http", "off",
                           "--device", "cpu"], text=True, capture_output=True, timeout=120)
    assert done.returncode == 3
    assert "images become 144 numbers and texts 96" in done.stderr


@pytest.mark.parametrize("generation", [1, 2])
def test_texts_of_hugging_face_siglip(generation, tmp_path, lines):
    folder = tmp_path / "model"
    folder.mkdir()
    size = (vocabularies.siglip_hf if generation == 1 else vocabularies.gemma)(folder, lines)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = randomise(transformers.SiglipModel(transformers.SiglipConfig(
        text_config={**SMALL, "vocab_size": max(size or 0, len(tokenizer)), "projection_size": 144},
        vision_config={**SMALL, "num_hidden_layers": 1})))
    model.save_pretrained(folder)
    pil("SiglipImageProcessor")().save_pretrained(folder)
    texts = TEXTS if generation == 1 else [t.lower() for t in TEXTS]  # as SigLIP2 was trained
    with torch.no_grad():
        ids = ids_of(tokenizer, texts, 64)
        wanted = model.text_model(ids).pooler_output.numpy()
        short = texts[:4]
        alone = [model.text_model(tokenizer(t, return_tensors="pt")["input_ids"]).pooler_output for t in short]
        masked = model.text_model(ids[:4], attention_mask=ids[:4] != tokenizer.pad_token_id).pooler_output
    check_sprung(wanted[:4], torch.cat(alone).numpy())  # no padding to 64
    check_sprung(wanted[:4], masked.numpy())
    compare("SigLIP" if generation == 1 else "SigLIP2", "Hugging Face", folder, "text", TEXTS, wanted)


@pytest.mark.parametrize("label", ["CLIP", "EVA02", "PE-Core", "MobileCLIP2-L/14"])
def test_texts_of_open_clip_folders(label, tmp_path, monkeypatch):
    name, config, model = open_clip_model(label, monkeypatch)
    save_open_clip(tmp_path / "model", name, config, model)
    vocabularies.clip(tmp_path / "model")
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    with torch.no_grad():
        wanted = model.encode_text(tokenizer(TEXTS)).numpy()
    compare(label, "open_clip", tmp_path / "model", "text", TEXTS, wanted)


@pytest.mark.parametrize("label", ["SigLIP", "SigLIP2"])
def test_texts_of_open_clip_siglip(label, tmp_path, lines, monkeypatch):
    files = tmp_path / "tokenizer"
    files.mkdir()
    (vocabularies.unigram_json if label == "SigLIP" else vocabularies.gemma)(files, lines)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(files), context_length=64, clean="canonicalize")
    name, config, model = open_clip_model(label, monkeypatch, len(tokenizer.tokenizer))
    save_open_clip(tmp_path / "model", name, config, model)
    for file in files.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    with torch.no_grad():
        wanted = model.encode_text(tokenizer(TEXTS)).numpy()
    compare(label, "open_clip", tmp_path / "model", "text", TEXTS, wanted)
