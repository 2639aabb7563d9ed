# SPDX-License-Identifier: Apache-2.0
"""The image tower against open_clip, on folders with random weights saved as open_clip saves them.

Needs the program tower_dump (build target of the same name); it is looked for in EMBEDD_BUILD_DIR, default build/dev.
The figures of every case are printed as a table at the end.
"""

import json
import os
import pathlib
import re
import subprocess

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[3]
SMALL_TEXT = {"context_length": 77, "vocab_size": 1000, "width": 64, "heads": 1, "layers": 1}
CLIPA = {"pool_type": "avg", "no_ln_pre": True, "final_ln_after_pool": True, "pos_embed_type": "sin_cos_2d"}

# name -> (open_clip config name, changes to vision_cfg, changes to model_cfg, preprocess_cfg)
FULL_SIZE = {
    "ViT-B-32": ("ViT-B-32", {}, {}, {}),
    "ViT-B-32-quickgelu": ("ViT-B-32-quickgelu", {}, {}, {}),
    "ViT-B-16": ("ViT-B-16", {}, {}, {}),
    "CLIPA-like B-16": ("ViT-B-16", CLIPA, {}, {"resize_mode": "squash", "interpolation": "bilinear",
                                                "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
    "LayerScale B-32": ("ViT-B-32", {"ls_init_value": 0.1}, {}, {}),
}
SHALLOW = {
    "tanh GELU": ("ViT-B-32", {"layers": 2, "act_kwargs": {"approximate": "tanh"}}, {}, {}),
    "eps 1e-6": ("ViT-B-32", {"layers": 2, "norm_kwargs": {"eps": 1e-6}}, {}, {}),
    "average pool": ("ViT-B-32", {"layers": 2, "pool_type": "avg"}, {}, {}),
    "not square": ("ViT-B-32", {"layers": 2, "image_size": [128, 224]}, {}, {"resize_mode": "squash"}),
    "patch leaves a rest": ("ViT-B-32", {"layers": 2, "patch_size": 30}, {}, {}),
    "head width 80": ("ViT-B-32", {"layers": 2, "width": 640, "head_width": 80}, {"embed_dim": 96}, {}),
    "avg, QuickGELU, LayerScale": (
        "ViT-B-32-quickgelu", {"layers": 3, "pool_type": "avg", "ls_init_value": 0.1}, {}, {}),
    "one layer": ("ViT-B-32-quickgelu", {"layers": 1}, {}, {}),
    "custom text": ("ViT-B-32", {"layers": 1}, {"custom_text": True}, {}),
}
LOW_PRECISION = {"bf16": 0.995, "f16": 0.9995}

_table = []


def tower_dump_path():
    path = pathlib.Path(os.environ.get("EMBEDD_BUILD_DIR", ROOT / "build" / "dev")) / "bin" / "tower_dump"
    assert path.exists(), f"{path} is not built: scripts/build dev tower_dump"
    return path


def tower_dump(folder, pixels, dtype="f32", threads=1):
    """uint8 [n, 3, h, w] -> (float32 [n, dim], what the program printed). Raises CalledProcessError."""
    raw, out = folder.parent / "pixels.u8", folder.parent / "rows.f32"
    raw.write_bytes(np.ascontiguousarray(pixels).tobytes())
    done = subprocess.run([tower_dump_path(), folder, raw, out, dtype, str(threads)], check=True, text=True,
                          capture_output=True)
    return np.fromfile(out, np.float32).reshape(len(pixels), -1), done.stdout


def make_model(base, vision, top, seed=7):
    config = json.loads(json.dumps(open_clip.get_model_config(base)))
    config["vision_cfg"].update(vision)
    config["text_cfg"] = dict(SMALL_TEXT)
    config.update(top)
    kwargs = dict(config)
    custom = kwargs.pop("custom_text", False)
    torch.manual_seed(seed)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**kwargs).eval()
    with torch.no_grad():  # default norms and biases would hide a mixed-up tensor
        for name, p in model.named_parameters():
            if p.ndim == 1 and "embedding" not in name:
                p.add_(torch.randn_like(p) * 0.1)
    return model, config


def save_folder(folder, model, config, preprocess):
    folder.mkdir(parents=True)
    set_model_preprocess_cfg(model, {**open_clip.transform.PreprocessCfg().__dict__, **preprocess})
    save_config_for_hf(model, folder / "open_clip_config.json", config)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")


def make_pixels(height, width, n):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    for i in range(0, n, 2):  # every other one smooth, as photographs are
        images[i] = np.stack([(x * (i + 1) + y * c) % 256 for c in (1, 2, 3)]).astype(np.uint8)
    return images


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def expected_rows(model, pixels, preprocess):
    mean = torch.tensor(preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN)).view(1, 3, 1, 1)
    std = torch.tensor(preprocess.get("std", open_clip.OPENAI_DATASET_STD)).view(1, 3, 1, 1)
    with torch.no_grad():
        return model.encode_image((torch.from_numpy(pixels).float() / 255 - mean) / std).numpy()


def compare(label, dtype, rows, wanted, lowest_cosine, largest_delta):
    assert rows.shape == wanted.shape and np.isfinite(rows).all()
    a, b = unit(rows.astype(np.float64)), unit(wanted.astype(np.float64))
    cosine, delta = float((a * b).sum(1).min()), float(np.abs(a - b).max())
    _table.append((label, dtype, cosine, delta))
    assert cosine >= lowest_cosine, (label, dtype, cosine)
    assert delta <= largest_delta, (label, dtype, delta)


@pytest.fixture(scope="module", autouse=True)
def print_table(request):
    torch.set_num_threads(1)  # on a busy machine a second thread spends its time waiting
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{'image tower against open_clip':40} {'dtype':6} {'min cosine':>12} {'max |delta|':>12}")
        for label, dtype, cosine, delta in _table:
            print(f"{label:40} {dtype:6} {cosine:12.9f} {delta:12.2e}")


@pytest.mark.parametrize("label", [*FULL_SIZE, *SHALLOW])
def test_tower_computes_what_open_clip_computes(label, tmp_path):
    base, vision, top, preprocess = {**FULL_SIZE, **SHALLOW}[label]
    model, config = make_model(base, vision, top)
    save_folder(tmp_path / "model", model, config, preprocess)
    height, width = model.visual.image_size
    for n in (3,) if label in FULL_SIZE else (1, 2):
        pixels = make_pixels(height, width, n)
        rows, _ = tower_dump(tmp_path / "model", pixels)
        compare(f"{label}, batch {n}", "f32", rows, expected_rows(model, pixels, preprocess), 0.999999, 2e-5)


@pytest.mark.parametrize("dtype", LOW_PRECISION)
@pytest.mark.parametrize("base", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_low_precision_stays_near_f32(base, dtype, tmp_path):
    model, config = make_model(base, {"layers": 4}, {})
    save_folder(tmp_path / "model", model, config, {})
    pixels = make_pixels(224, 224, 2)
    rows, _ = tower_dump(tmp_path / "model", pixels, dtype)
    compare(f"{base}, 4 layers", dtype, rows, expected_rows(model, pixels, {}), LOW_PRECISION[dtype], 2e-2)


def to_hugging_face(state, config, folder):
    """The same weights as transformers' CLIPModel names them."""
    vision = config["vision_cfg"]
    out = {}
    names = {"class_embedding": "embeddings.class_embedding", "conv1.weight": "embeddings.patch_embedding.weight",
             "positional_embedding": "embeddings.position_embedding.weight", "ln_pre": "pre_layrnorm",
             "ln_post": "post_layernorm", "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1",
             "mlp.c_proj": "mlp.fc2", "attn.out_proj": "self_attn.out_proj"}
    for key, tensor in state.items():
        if not key.startswith("visual."):
            continue
        name = key.removeprefix("visual.")
        if name == "proj":
            out["visual_projection.weight"] = tensor.T.contiguous()
            continue
        block = re.match(r"transformer\.resblocks\.(\d+)\.(.*)", name)
        prefix, rest = ("vision_model.", name) if not block else (
            f"vision_model.encoder.layers.{block[1]}.", block[2])
        if rest.startswith("attn.in_proj_"):
            for piece, part in zip("qkv", tensor.chunk(3)):
                out[f"{prefix}self_attn.{piece}_proj.{rest.removeprefix('attn.in_proj_')}"] = part.contiguous()
            continue
        stem, _, kind = rest.rpartition(".")
        out[prefix + (names[rest] if rest in names else f"{names[stem]}.{kind}")] = tensor.contiguous()
    out["logit_scale"] = state["logit_scale"]
    out["vision_model.embeddings.position_ids"] = torch.arange(50).unsqueeze(0)
    folder.mkdir()
    save_file(out, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": config["embed_dim"],
        "vision_config": {"num_hidden_layers": vision["layers"], "patch_size": vision["patch_size"],
                          "hidden_act": "quick_gelu" if config.get("quick_gelu") else "gelu"}}))
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224}, "do_normalize": True,
        "image_mean": list(open_clip.OPENAI_DATASET_MEAN), "image_std": list(open_clip.OPENAI_DATASET_STD)}))


@pytest.mark.parametrize("base", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_hugging_face_folder_of_the_same_weights_gives_the_same_rows(base, tmp_path):
    model, config = make_model(base, {"layers": 2}, {})
    to_hugging_face(model.state_dict(), config, tmp_path / "model")
    pixels = make_pixels(224, 224, 2)
    rows, _ = tower_dump(tmp_path / "model", pixels)
    compare(f"Hugging Face folder, {base}", "f32", rows, expected_rows(model, pixels, {}), 0.999999, 2e-5)


def test_fingerprint_tells_weights_and_dtype_apart(tmp_path):
    model, config = make_model("ViT-B-32", {"layers": 1}, {})
    save_folder(tmp_path / "a" / "model", model, config, {})
    save_folder(tmp_path / "b" / "model", model, config, {})
    with torch.no_grad():
        model.visual.proj[0, 0] += 1
    save_folder(tmp_path / "c" / "model", model, config, {})
    pixels = make_pixels(224, 224, 1)
    prints = [tower_dump(tmp_path / f / "model", pixels, dtype)[1].split()[1]
              for f, dtype in (("a", "f32"), ("b", "f32"), ("c", "f32"), ("a", "bf16"))]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def fingerprint(printed):
    return re.search(r"fingerprint (\w+)", printed)[1]


def as_saved(state):
    return state


def under_state_dict(state):
    """What open_clip's trainer writes, from DistributedDataParallel."""
    return {"epoch": 3, "name": "run", "state_dict": {f"module.{k}": v for k, v in state.items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98), "params": [0, 1]}]}}


def askew(state):
    """Every matrix transposed in memory, every vector a part of a longer one."""
    wide = {}
    for name, tensor in state.items():
        if tensor.ndim == 1:
            wide[name] = torch.cat([torch.ones(3), tensor, torch.ones(5)])[3:-5]
        else:
            wide[name] = tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.ndim else tensor
    return wide


@pytest.mark.parametrize("change", [as_saved, under_state_dict, askew])
def test_checkpoint_of_torch_save_is_the_same_model(change, tmp_path):
    model, config = make_model("ViT-B-32", {"layers": 2}, {})
    save_folder(tmp_path / "model", model, config, {})
    pixels = make_pixels(224, 224, 2)
    rows, printed = tower_dump(tmp_path / "model", pixels)
    (tmp_path / "model" / "open_clip_model.safetensors").unlink()
    torch.save(change(model.state_dict()), tmp_path / "model" / "open_clip_pytorch_model.bin")
    again, printed_again = tower_dump(tmp_path / "model", pixels)
    assert fingerprint(printed_again) == fingerprint(printed)
    # Not bit by bit: which layout of the weights is the fastest is measured at each start.
    np.testing.assert_allclose(unit(again), unit(rows), rtol=0, atol=1e-6)


def test_folders_of_transformers_5(tmp_path):
    """As save_pretrained writes them now: shards, processor_config.json, and a checkpoint of the same weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    vision = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2,
              "image_size": 64, "patch_size": 16}
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=32, text_config={
        "num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 50})
    model = transformers.CLIPModel(config).eval()
    folder = tmp_path / "model"
    model.save_pretrained(folder, max_shard_size="100KB")
    assert (folder / "model.safetensors.index.json").exists()
    processor = transformers.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(processor.to_json_string())}))
    pixels = make_pixels(64, 64, 2)
    mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
    with torch.no_grad():
        features = model.get_image_features((torch.from_numpy(pixels).float() / 255 - mean) / std)
    wanted = getattr(features, "pooler_output", features).numpy()
    rows, printed = tower_dump(folder, pixels)
    compare("transformers 5, shards", "f32", rows, wanted, 0.999999, 2e-5)
    for shard in folder.glob("model*"):
        shard.unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    again, printed_again = tower_dump(folder, pixels)
    assert fingerprint(printed_again) == fingerprint(printed)
    # Not bit by bit: which layout of the weights is the fastest is measured at each start.
    np.testing.assert_allclose(unit(again), unit(rows), rtol=0, atol=1e-6)
