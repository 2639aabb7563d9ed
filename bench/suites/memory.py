# SPDX-License-Identifier: Apache-2.0
"""From exec to READY, what stays resident at rest beside the weights, and what the allocator keeps between batches of any size."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import numpy as np

from . import inputs
from .common import BIN, Figure, Server, Settings, resident_bytes

_MIB = 2**20


def _started(model) -> tuple[Server, float]:
    start = time.monotonic()
    server = Server(BIN / "embedd", model, "--dtype", "f32", "--release", "never")
    while True:
        try:
            urllib.request.urlopen(f"{server.http}/healthz", timeout=30).read()
            return server, time.monotonic() - start
        except urllib.error.HTTPError as error:  # 503: it loads
            assert error.code == 503, error
            time.sleep(0.01)


def _cache(server: Server) -> float:
    series = server.metrics()
    kinds = {kind: sum(value for name, value in series.items()
                       if name.startswith("embedd_device_memory_bytes{") and f'kind="{kind}"' in name)
             for kind in ("reserved", "allocated")}
    return kinds["reserved"] - kinds["allocated"]


def run(settings: Settings) -> dict[str, Figure]:
    from embedd import EmbedClient

    model = inputs.model("vit-b-32")
    weights = _image_tower_bytes(model)
    pictures = list(np.random.default_rng(1).integers(0, 256, (64, 224, 224, 3), np.uint8))
    started, rest, caches = [], [], []
    for _ in range(settings.rounds + 1):  # the first one finds the files uncached
        server, seconds = _started(model)
        try:
            with EmbedClient(server.grpc, timeout=120) as client:
                client.embed_images(pictures[:8])
                rest.append(resident_bytes(server.pid) - weights)
                sizes, highest = np.random.default_rng(2), 0
                for _ in range(5 if settings.short else 10):
                    client.embed_images(pictures[: sizes.integers(1, 65)])
                    batches = json.load(urllib.request.urlopen(f"{server.http}/batches", timeout=30))
                    highest = max([highest, *(batch["peak"] - batch["before"] for batch in batches)])
                caches.append(_cache(server) / highest)
        finally:
            server.stop()
        started.append(seconds)
    return {
        "ready_seconds": Figure.of(started[1:], "s", "ViT-B/32, files cached; polled, so up to 0.05 s too long"),
        "rest_mib": Figure.of([one / _MIB for one in rest], "MiB", f"ViT-B/32 in f32, {weights / _MIB:.0f} MiB of weights, after one call"),
        "cache": Figure.of(caches, "", "calls of 1 to 64 images, --release never"),
    }


def _image_tower_bytes(model) -> int:
    """Bytes of the tensors that the image tower is made of, in f32."""
    from safetensors import safe_open

    with safe_open(model / "open_clip_model.safetensors", "pt") as file:
        return sum(4 * int(np.prod(file.get_slice(name).get_shape())) for name in file.keys() if name.startswith("visual."))
