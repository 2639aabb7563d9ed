# SPDX-License-Identifier: Apache-2.0
"""Forward passes of other runtimes, for the engine suite: forward.py open_clip|onnxruntime|openvino --model FOLDER

Answers each line "BATCH CALLS" on stdin with {"seconds": of each call}; see bench/engine.cc.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time

import numpy as np
import open_clip
import torch


class _Image(torch.nn.Module):
    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model.encode_image(pixels, normalize=True)


def _open_clip(model, _folder):
    def run(pixels):
        with torch.inference_mode():
            return model(torch.from_numpy(pixels)).numpy()
    return run


def _onnx_file(model, folder: pathlib.Path) -> str:
    file = folder / "image.onnx"
    if not file.exists():
        pixels = torch.zeros(2, 3, 224, 224)
        part = file.with_suffix(f".{os.getpid()}")  # two runtimes may make it at once
        torch.onnx.export(model, (pixels,), str(part), input_names=["pixels"], output_names=["vectors"], dynamo=False,
                          dynamic_axes={"pixels": {0: "n"}, "vectors": {0: "n"}}, opset_version=17)
        part.rename(file)
    return str(file)


def _onnxruntime(model, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(_onnx_file(model, folder), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels})[0]


def _openvino(model, folder):
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_onnx_file(model, folder)), "CPU",
                                  {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: compiled(pixels)[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=["open_clip", "onnxruntime", "openvino"])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    options = parser.parse_args()
    model = _Image(open_clip.create_model_and_transforms(f"local-dir:{options.model}")[0].eval())
    run = globals()[f"_{options.runtime}"](model, options.model)
    for line in sys.stdin:
        batch, calls = map(int, line.split())
        pixels = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            run(pixels)
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
