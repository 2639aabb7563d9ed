# SPDX-License-Identifier: Apache-2.0
"""Infinity: `infinity_emb v2` with its torch engine, on a CLIP model in Hugging Face's form with the same sizes as the
OpenCLIP folder and random weights, which this program makes: Infinity loads models itself and takes no other form."""

from __future__ import annotations

import json
import os
import pathlib
import sys

import torch
from transformers import CLIPConfig, CLIPImageProcessorFast, CLIPModel, CLIPProcessor, CLIPTokenizerFast

from peers.tower import MAX_BATCH, PROCESSORS, arguments


def hugging_face(folder: pathlib.Path) -> pathlib.Path:
    made = folder / "hugging_face"
    if (made / "config.json").exists():
        return made
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    vision, text = config["vision_cfg"], config["text_cfg"]
    made.mkdir(exist_ok=True)
    words = {word: number for number, word in enumerate(("a</w>", "<|startoftext|>", "<|endoftext|>"))}
    (made / "vocab.json").write_text(json.dumps(words))
    (made / "merges.txt").write_text("#version: 0.2\n")
    CLIPProcessor(CLIPImageProcessorFast(), CLIPTokenizerFast(str(made / "vocab.json"), str(made / "merges.txt"))).save_pretrained(made)
    torch.manual_seed(0)
    sizes = {"projection_dim": config["embed_dim"]}
    CLIPModel(CLIPConfig(
        vision_config={"hidden_size": vision["width"], "intermediate_size": 4 * vision["width"], "image_size": 224,
                       "num_hidden_layers": vision["layers"], "patch_size": vision["patch_size"],
                       "num_attention_heads": vision["width"] // vision.get("head_width", 64), **sizes},
        text_config={"hidden_size": text["width"], "intermediate_size": 4 * text["width"], "vocab_size": text["vocab_size"],
                     "num_hidden_layers": text["layers"], "num_attention_heads": text["heads"], **sizes},
        **sizes)).save_pretrained(made)  # config.json comes last
    return made


if __name__ == "__main__":
    options = arguments()
    model = hugging_face(pathlib.Path(options.model))
    if options.queue:
        os.environ["INFINITY_QUEUE_SIZE"] = str(16 * options.queue)
    os.environ |= {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "OMP_NUM_THREADS": str(PROCESSORS)}
    program = str(pathlib.Path(sys.executable).parent / "infinity_emb")
    os.execv(program, [
        program, "v2", "--model-id", str(model), "--served-model-name", "model", "--engine", "torch",
        "--device", "cpu", "--dtype", "float32", "--batch-size", str(MAX_BATCH), "--no-bettertransformer", "--no-model-warmup",
        "--url-prefix", "", "--host", "127.0.0.1", "--port", str(options.port), "--log-level", "warning"])
