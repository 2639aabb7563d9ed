# SPDX-License-Identifier: Apache-2.0
"""The model as Python services run it: Pillow decodes, open_clip's transform prepares, torch computes. Same for all peers."""

from __future__ import annotations

import argparse
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import torch
from PIL import Image

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MAX_BATCH = 32  # images, or as many calls of 16: where every peer's rate no longer grows
_RAW = 224 * 224 * 3


def arguments() -> argparse.Namespace:
    """What every server takes. `queue` and `wait` bound its queue, where the product can, for the overload contest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--queue", type=int, default=0, help="calls it may hold; 0: no limit")
    parser.add_argument("--wait", type=float, default=0, help="seconds a call may wait; 0: no limit")
    return parser.parse_args()


class Tower:
    def __init__(self, folder: str, decoders: int = 0) -> None:
        """`decoders` > 0: decode and prepare in that many threads."""
        torch.set_num_threads(PROCESSORS)  # some products set one thread for their workers
        self.model, _, self.transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model.eval()
        self.pool = ThreadPoolExecutor(decoders) if decoders else None
        self._device = threading.Lock()

    def prepare(self, data: bytes) -> torch.Tensor:
        """A file, or RGB8 of 224x224."""
        if len(data) == _RAW:
            return self.transform(Image.fromarray(np.frombuffer(data, np.uint8).reshape(224, 224, 3)))
        return self.transform(Image.open(io.BytesIO(data)).convert("RGB"))

    def prepare_all(self, images: list[bytes]) -> torch.Tensor:
        return torch.stack(list((self.pool.map if self.pool else map)(self.prepare, images)))

    def forward(self, pixels: torch.Tensor) -> np.ndarray:
        with self._device, torch.inference_mode():
            return self.model.encode_image(pixels, normalize=True).numpy()

    def embed(self, images: list[bytes]) -> np.ndarray:
        return self.forward(self.prepare_all(images))


def unpack(body: bytes) -> list[bytes]:
    """A call as one binary body: each image after its length."""
    images, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at:at + 4], "little")
        images.append(body[at + 4:end])
        at = end
    return images


def split(rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The vectors of a batch, call by call."""
    return np.split(rows, np.cumsum(sizes)[:-1])
