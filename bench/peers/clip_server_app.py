# SPDX-License-Identifier: Apache-2.0
"""clip-as-service: its Flow and its executor with its own transform. Its loader takes only the names of checkpoints that it
downloads, so the tower stands in for its model. For its calls see clip_server_call.py."""

from __future__ import annotations

import torch
from clip_server.executors import clip_torch
from jina import Flow

from peers.tower import Tower, arguments


class _Model:
    image_size = 224

    def __init__(self, folder: str) -> None:
        self._tower = Tower(folder)

    def encode_image(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._tower.forward(pixel_values))


class Encoder(clip_torch.CLIPEncoder):
    """Half a call is decoded while the other half is computed."""

    def __init__(self, folder: str, **options) -> None:
        clip_torch.CLIPModel = lambda _name, **_: _Model(folder)
        clip_torch.Tokenizer = lambda _name: None
        super().__init__(minibatch_size=8, device="cpu", **options)


if __name__ == "__main__":
    given = arguments()
    with Flow(port=given.port, host="127.0.0.1", protocol="grpc").add(uses=Encoder, uses_with={"folder": given.model}) as flow:
        flow.block()
