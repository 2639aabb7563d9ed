# SPDX-License-Identifier: Apache-2.0
"""LitServe with batching across requests, as its guide shows it; images as base64 in JSON, as its image examples do."""

from __future__ import annotations

import base64

import litserve
import torch

from peers.tower import MAX_BATCH, PROCESSORS, Tower, arguments, split


class Embed(litserve.LitAPI):
    def __init__(self, folder: str, **options) -> None:
        super().__init__(**options)
        self._folder = folder

    def setup(self, device) -> None:
        self.tower = Tower(self._folder, PROCESSORS)

    def decode_request(self, request):
        return self.tower.prepare_all([base64.b64decode(image) for image in request["images"]])

    def batch(self, inputs):
        self.sizes = [len(pixels) for pixels in inputs]
        return torch.cat(inputs)

    def predict(self, pixels):
        return self.tower.forward(pixels)

    def unbatch(self, output):
        return split(output, self.sizes)

    def encode_response(self, output):
        return {"data": base64.b64encode(output.tobytes()).decode()}


if __name__ == "__main__":
    given = arguments()
    api = Embed(given.model, max_batch_size=MAX_BATCH // 16, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", timeout=given.wait or False)
    server.run(host="127.0.0.1", port=given.port, log_level="warning", generate_client_file=False)
