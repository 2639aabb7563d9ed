# SPDX-License-Identifier: Apache-2.0
"""Image towers with random weights in OpenCLIP's folder layout, and the same tower as a PyTorch program would run it.

open_clip is not needed: the names and the order of the forward pass are those of OpenCLIP v3.3.0 (transformer.py).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    size: int
    patch: int
    width: int
    layers: int
    heads: int
    embed: int

    @property
    def tokens(self) -> int:
        return (self.size // self.patch) ** 2 + 1

    @property
    def flop(self) -> float:
        """Of one image: two for each multiplication of weights, and of attention."""
        per_token = self.layers * (24 * self.width**2 + 4 * self.tokens * self.width) + 6 * self.patch**2 * self.width
        return self.tokens * per_token


TINY = Shape("tiny", 64, 16, 256, 3, 4, 64)
B32 = Shape("ViT-B-32", 224, 32, 768, 12, 12, 512)
L14 = Shape("ViT-L-14", 224, 14, 1024, 24, 16, 768)


def make(shape: Shape, folder: pathlib.Path) -> pathlib.Path:
    """The folder; every parameter is random, gains and biases too."""
    folder = folder / shape.name
    if (folder / "open_clip_config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    g, w = torch.Generator().manual_seed(1), shape.width

    def normal(*size, std=0.02, mean=0.0):
        return torch.randn(*size, generator=g) * std + mean

    tensors = {"visual.conv1.weight": normal(w, 3, shape.patch, shape.patch),
               "visual.class_embedding": normal(w), "visual.positional_embedding": normal(shape.tokens, w),
               "visual.proj": normal(w, shape.embed, std=w**-0.5)}
    norms = ["visual.ln_pre", "visual.ln_post"]
    for i in range(shape.layers):
        block = f"visual.transformer.resblocks.{i}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        for name, rows, columns in (("attn.in_proj_", 3 * w, w), ("attn.out_proj.", w, w), ("mlp.c_fc.", 4 * w, w),
                                    ("mlp.c_proj.", w, 4 * w)):
            tensors[f"{block}.{name}weight"] = normal(rows, columns, std=columns**-0.5)
            tensors[f"{block}.{name}bias"] = normal(rows)
    for norm in norms:
        tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = normal(w, std=0.1, mean=1.0), normal(w)
    save_file(tensors, str(folder / "open_clip_model.safetensors"))
    config = {"model_cfg": {"embed_dim": shape.embed,
                            "vision_cfg": {"image_size": shape.size, "patch_size": shape.patch, "width": w,
                                           "layers": shape.layers, "head_width": w // shape.heads},
                            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}},
              "preprocess_cfg": {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic",
                                 "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    return folder


class Tower:
    """PyTorch's own loop."""

    def __init__(self, shape: Shape, folder: pathlib.Path, device: str, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        weights = load_file(str(folder / "open_clip_model.safetensors"))
        self.w = {k.removeprefix("visual."): v.to(device, dtype) for k, v in weights.items()}
        self.mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
        self.std = torch.tensor(STD, device=device).view(3, 1, 1)

    def _norm(self, x, name):
        return functional.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-5)

    def _linear(self, x, name, dot="."):
        return functional.linear(x, self.w[f"{name}{dot}weight"], self.w[f"{name}{dot}bias"])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, size, size] on the device to float32 [n, embed] of unit length."""
        x = ((pixels.float() / 255 - self.mean) / self.std).to(self.dtype)
        x = functional.conv2d(x, self.w["conv1.weight"], stride=self.shape.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.w["class_embedding"].expand(len(x), 1, -1), x], 1) + self.w["positional_embedding"]
        x = self._norm(x, "ln_pre")
        for i in range(self.shape.layers):
            block = f"transformer.resblocks.{i}"
            q, k, v = self._linear(self._norm(x, f"{block}.ln_1"), f"{block}.attn.in_proj", "_").chunk(3, -1)
            q, k, v = (t.unflatten(-1, (self.shape.heads, -1)).transpose(1, 2) for t in (q, k, v))
            a = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + self._linear(a, f"{block}.attn.out_proj")
            h = functional.gelu(self._linear(self._norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"))
            x = x + self._linear(h, f"{block}.mlp.c_proj")
        x = self._norm(x[:, 0], "ln_post") @ self.w["proj"]
        return functional.normalize(x.float(), dim=-1)
