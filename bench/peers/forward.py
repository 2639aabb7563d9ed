# SPDX-License-Identifier: Apache-2.0
"""The forward pass of one tower of a model folder, for the engine and families suites: forward.py RUNTIME --model FOLDER [--tower text]

RUNTIME is `library` (the one that the folder belongs to), `onnxruntime` or `openvino` (from an ONNX file that the library's
model is exported to). Answers each line "BATCH CALLS" on stdin with {"seconds": of each call}; see bench/engine.cc.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch


class _Tower(torch.nn.Module):
    """From pixels or ids to vectors of length 1."""

    def __init__(self, folder: pathlib.Path, text: bool) -> None:
        super().__init__()
        self.text = text
        self.open_clip = (folder / "open_clip_config.json").exists()
        if self.open_clip:
            import open_clip

            self.model = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval()
            self.places, self.ids = self.model.context_length, self.model.vocab_size
        else:
            import transformers

            self.model = transformers.AutoModel.from_pretrained(folder).eval()
            of_text = getattr(self.model.config, "text_config", None)
            self.places, self.ids = (of_text.max_position_embeddings, of_text.vocab_size) if of_text else (0, 0)

    def forward(self, inputs):
        if self.open_clip:
            return (self.model.encode_text if self.text else self.model.encode_image)(inputs, normalize=True)
        if self.text:
            out = self.model.text_model(input_ids=inputs)
        else:
            out = getattr(self.model, "vision_model", self.model)(pixel_values=inputs)
        return torch.nn.functional.normalize(out.pooler_output, dim=-1)

    def inputs(self, batch: int) -> np.ndarray:
        random = np.random.default_rng(0)
        if not self.text:
            return random.standard_normal((batch, 3, 224, 224), dtype=np.float32)
        ids = random.integers(1, self.ids - 1, (batch, self.places))
        ids[:, -1] = self.ids - 1
        return ids


def _library(tower, _file):
    def run(inputs):
        with torch.inference_mode():
            return tower(torch.from_numpy(inputs)).numpy()
    return run


def _exported(tower, file: pathlib.Path) -> str:
    if not file.exists():
        part = file.with_suffix(f".{os.getpid()}")  # two runtimes may make it at once
        torch.onnx.export(tower, (torch.from_numpy(tower.inputs(2)),), str(part), input_names=["inputs"], output_names=["vectors"],
                          dynamo=False, dynamic_axes={"inputs": {0: "n"}, "vectors": {0: "n"}}, opset_version=17)
        part.rename(file)
    return str(file)


def _onnxruntime(tower, file):
    import onnxruntime

    session = onnxruntime.InferenceSession(_exported(tower, file), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {"inputs": inputs})[0]


def _openvino(tower, file):
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_exported(tower, file)), "CPU",
                                  {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(inputs)[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=["library", "onnxruntime", "openvino"])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--tower", choices=["image", "text"], default="image")
    options = parser.parse_args()
    tower = _Tower(options.model, options.tower == "text")
    run = globals()[f"_{options.runtime}"](tower, options.model / f"{options.tower}-tower.onnx")
    for line in sys.stdin:
        batch, calls = map(int, line.split())
        inputs = tower.inputs(batch)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            run(inputs)
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
