# SPDX-License-Identifier: Apache-2.0
"""BentoML with adaptive batching: files as multipart, as its client sends them; raw pixels and vectors as base64 in JSON."""

from __future__ import annotations

import base64
import os

import bentoml
import numpy as np
import torch
from PIL.Image import Image

from peers.tower import MAX_BATCH, PROCESSORS, Tower

_QUEUE, _WAIT = int(os.environ["PEER_QUEUE"]), float(os.environ["PEER_WAIT"])  # `bentoml serve` takes no arguments of ours
_BATCHES = {"batchable": True, "max_batch_size": MAX_BATCH, "max_latency_ms": int(1e3 * _WAIT) or 600_000}


def _texts(vectors: np.ndarray) -> list[str]:
    return [base64.b64encode(row.tobytes()).decode() for row in vectors]


@bentoml.service(workers=1, traffic={"timeout": 600, **({"max_concurrency": _QUEUE} if _QUEUE else {})})
class Embed:
    def __init__(self) -> None:
        self.tower = Tower(os.environ["PEER_MODEL"], PROCESSORS)

    @bentoml.api(**_BATCHES)
    def embed(self, images: list[Image]) -> list[str]:
        prepared = self.tower.pool.map(lambda image: self.tower.transform(image.convert("RGB")), images)
        return _texts(self.tower.forward(torch.stack(list(prepared))))

    @bentoml.api(**_BATCHES)
    def embed_raw(self, images: list[str]) -> list[str]:
        return _texts(self.tower.embed([base64.b64decode(image) for image in images]))
