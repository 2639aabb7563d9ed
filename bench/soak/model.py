# SPDX-License-Identifier: Apache-2.0
"""A full-sized model folder without a download, and where the programs are."""

from __future__ import annotations

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def make_model(folder: pathlib.Path) -> None:
    """ViT-B-32 with random weights: its memory and its cost are those of trained ones."""
    if (folder / "open_clip_config.json").exists():
        return
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, str(folder / "open_clip_model.safetensors"))
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"),
              "preprocess_cfg": {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD),
                                 "interpolation": "bicubic", "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))


def newest_binary(name: str) -> pathlib.Path | None:
    """A program of build/release or build/dev, whichever was built last."""
    found = [b for b in (ROOT / f"build/{preset}/bin/{name}" for preset in ("release", "dev")) if b.exists()]
    return max(found, key=lambda b: b.stat().st_mtime) if found else None
