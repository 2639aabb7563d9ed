# SPDX-License-Identifier: Apache-2.0
"""LitServe with batching across requests, as its guide shows it; images as base64 in JSON, as its image examples do."""

from __future__ import annotations

import argparse
import base64
import pathlib
import sys

import litserve
import numpy as np
import torch

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from peers.tower import Tower  # noqa: E402


class Embed(litserve.LitAPI):
    def __init__(self, folder: str, **options) -> None:
        super().__init__(**options)
        self._folder = folder

    def setup(self, device) -> None:
        self.tower = Tower(self._folder)

    def decode_request(self, request):
        return self.tower.prepare_all([base64.b64decode(image) for image in request["images"]])

    def batch(self, inputs):
        self.sizes = [len(pixels) for pixels in inputs]
        return torch.cat(inputs)

    def predict(self, pixels):
        return self.tower.forward(pixels)

    def unbatch(self, output):
        ends = np.cumsum(self.sizes)
        return [output[end - size:end] for size, end in zip(self.sizes, ends)]

    def encode_response(self, output):
        return {"data": base64.b64encode(output.tobytes()).decode()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    api = Embed(options.model, max_batch_size=4, batch_timeout=0.01)
    litserve.LitServer(api, accelerator="cpu", timeout=False).run(host="127.0.0.1", port=options.port, log_level="warning",
                                                                   generate_client_file=False)
