# SPDX-License-Identifier: Apache-2.0
"""The model as Python services run it: Pillow decodes, open_clip's transform prepares, torch computes. Same for all peers."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import torch
from PIL import Image

_RAW = 224 * 224 * 3


class Tower:
    def __init__(self, folder: str, decoders: int = 0) -> None:
        """`decoders` > 0: decode and prepare in that many threads."""
        self.model, _, self.transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model.eval()
        self._pool = ThreadPoolExecutor(decoders) if decoders else None
        self._device = threading.Lock()

    def prepare(self, data: bytes) -> torch.Tensor:
        """A file, or RGB8 of 224x224."""
        if len(data) == _RAW:
            return self.transform(Image.fromarray(np.frombuffer(data, np.uint8).reshape(224, 224, 3)))
        return self.transform(Image.open(io.BytesIO(data)).convert("RGB"))

    def prepare_all(self, images: list[bytes]) -> torch.Tensor:
        return torch.stack(list((self._pool.map if self._pool else map)(self.prepare, images)))

    def forward(self, pixels: torch.Tensor) -> np.ndarray:
        with self._device, torch.inference_mode():
            return self.model.encode_image(pixels, normalize=True).numpy()

    def embed(self, images: list[bytes]) -> np.ndarray:
        return self.forward(self.prepare_all(images))


def pack(images: list[bytes]) -> bytes:
    """A call as one body: each image after its length."""
    return b"".join(len(image).to_bytes(4, "little") + image for image in images)


def unpack(body: bytes) -> list[bytes]:
    images, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at:at + 4], "little")
        images.append(body[at + 4:end])
        at = end
    return images
