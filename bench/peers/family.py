# SPDX-License-Identifier: Apache-2.0
"""The forward pass of a model folder in its own library, for the families suite: family.py --model FOLDER

Answers each line "BATCH CALLS" on stdin with {"seconds": of each call}; see bench/engine.cc.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time

import torch


def load(folder: pathlib.Path):
    """(the function from pixels to vectors, the side of its pictures)."""
    if (folder / "open_clip_config.json").exists():
        import open_clip

        model = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval()
        return lambda pixels: model.encode_image(pixels, normalize=True), 224
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    return lambda pixels: torch.nn.functional.normalize(model(pixels).pooler_output, dim=-1), 224


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    run, side = load(parser.parse_args().model)
    for line in sys.stdin:
        batch, calls = map(int, line.split())
        pixels = torch.randn(batch, 3, side, side)
        seconds = []
        with torch.inference_mode():
            for _ in range(calls):
                start = time.perf_counter()
                run(pixels).numpy()
                seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
