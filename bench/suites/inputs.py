# SPDX-License-Identifier: Apache-2.0
"""Models and pictures of the benchmark, made from seeds: nothing is downloaded. Made once, then reused."""

from __future__ import annotations

import json
import pathlib

import numpy as np
from PIL import Image

from .common import ROOT, WORK

# What a model computes does not change its cost, so the weights are random. "tiny" leaves the host path as the limit.
_TINY = {"embed_dim": 64, "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
         "text_cfg": {"context_length": 77, "vocab_size": 64, "width": 64, "heads": 2, "layers": 1}}
KINDS = ("jpeg", "12mp", "raw")


_OPEN_CLIP = {"vit-b-32": "ViT-B-32", "vit-b-16": "ViT-B-16", "vit-l-14": "ViT-L-14"}


def family(name: str) -> pathlib.Path:
    """A folder as the model's library saves it."""
    if name in _OPEN_CLIP:
        return model(name)
    folder = WORK / name
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    import transformers

    torch.manual_seed(0)
    if name == "siglip-b-16":
        made, processor = transformers.SiglipModel(transformers.SiglipConfig()), transformers.SiglipImageProcessor()
    else:
        made = transformers.Dinov2Model(transformers.Dinov2Config(image_size=518))
        processor = transformers.BitImageProcessor(size={"shortest_edge": 256})
    processor.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def model(name: str) -> pathlib.Path:
    """An OpenCLIP folder: one of _OPEN_CLIP, or "tiny"."""
    folder = WORK / name
    if (folder / "open_clip_config.json").exists():
        return folder
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = open_clip.get_model_config(_OPEN_CLIP[name]) if name in _OPEN_CLIP else _TINY
    torch.manual_seed(0)
    weights = open_clip.CLIP(**config).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in weights.items()}, str(folder / "open_clip_model.safetensors"))
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD),
                  "interpolation": "bicubic", "resize_mode": "shortest"}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2)
    (folder / "open_clip_config.json").write_text(text)
    return folder


def _photo(width: int, height: int, seed: int) -> Image.Image:
    """Noise whose spectrum falls as that of photographs does: compresses like them (500x375 to about 60 kB)."""
    random = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    fall = 1 / np.maximum(np.hypot(y, x), 1 / max(width, height)) ** 1.22
    planes = []
    for strength in (1.0, 0.35, 0.35):  # brightness and two colours
        noise = random.standard_normal((height, width))
        plane = np.fft.irfft2(np.fft.rfft2(noise) * fall, s=(height, width))
        planes.append(strength * plane / plane.std())
    light, red, blue = planes
    rgb = np.stack([light + red, light, light + blue], axis=2) * 45 + 120
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


_FILES = {  # width, height, how many, coding
    "jpeg": (500, 375, 16, "JPEG"),
    "small": (320, 240, 2, "JPEG"),
    "12mp": (4000, 3000, 2, "JPEG"),
    "12mp-portrait": (3000, 4000, 2, "JPEG"),
    "png": (512, 512, 8, "PNG"),
    "webp": (512, 512, 8, "WEBP"),
}


def files(kind: str) -> list[pathlib.Path]:
    """Pictures of one kind of _FILES."""
    width, height, count, coding = _FILES[kind]
    folder = WORK / f"pictures-{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{number:02}.{'jpg' if coding == 'JPEG' else coding.lower()}" for number in range(count)]
    for number, file in enumerate(made):
        if not file.exists():
            part = file.with_suffix(".part")
            _photo(width, height, number).save(part, coding, quality=88)
            part.rename(file)
    return made


def flags(kind: str) -> list[str]:
    """The inputs as embedctl bench wants them."""
    return ["--input", "raw"] if kind == "raw" else [str(file) for file in files(kind)]


def call(kind: str, images: int) -> list[bytes]:
    """The inputs of one call: files, or RGB8 of 224x224."""
    if kind == "raw":
        random = np.random.default_rng(0)
        return [random.integers(0, 256, 3 * 224 * 224, dtype=np.uint8).tobytes() for _ in range(images)]
    made = [file.read_bytes() for file in files(kind)]
    return [made[number % len(made)] for number in range(images)]


__all__ = ["KINDS", "ROOT", "call", "files", "flags", "model"]
