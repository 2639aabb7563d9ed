# SPDX-License-Identifier: Apache-2.0
"""How long a single small picture takes beside a bulk job of files of 12 megapixels, and what it may take: three times
one file's decode and a batch, as they are while the job runs."""

from __future__ import annotations

import re
import threading
import time
import urllib.request

from . import inputs
from .common import Figure, Settings, embedd, load

_PHOTO = 8  # files a call of the job


def _decodes(server) -> tuple[float, float]:
    """Inputs prepared so far, and their seconds."""
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    series = {name: float(value) for name, value in
              re.findall(r'^embedd_stage_seconds_(sum|count)\{[^}]*stage="decode"[^}]*\} (\S+)$', text, re.M)}
    return series.get("count", 0.0), series.get("sum", 0.0)


def run(settings: Settings) -> dict[str, Figure]:
    server = embedd(inputs.model("vit-b-32"))
    large, small = inputs.files("12mp"), inputs.files("small")[:1]
    seconds = 2 * settings.seconds
    p90, allowed, alone = [], [], []
    try:
        for _ in range(settings.rounds):
            alone.append(load(server.grpc, seconds / 2, "--rate", "5", "--images", "1", *small)["latency_ms"]["p90"])
            before, last = _decodes(server), server.batches()[-1]["id"]
            job = threading.Thread(target=load, args=(server.grpc, seconds + 3, "--bulk", "--callers", "5", "--images",
                                                      str(_PHOTO), *large))
            job.start()
            time.sleep(2)  # until files wait
            single = load(server.grpc, seconds, "--rate", "5", "--images", "1", *small)
            p90.append(single["latency_ms"]["p90"])
            count, spent = (now - then for now, then in zip(_decodes(server), before))
            batches = [batch["execute_ns"] / 1e6 for batch in server.batches() if batch["id"] > last]
            files = max(1, count - single["calls"])  # a small picture's decode is nothing beside theirs
            allowed.append(3 * (1e3 * spent / files + sum(batches) / len(batches)))
            job.join()
    finally:
        server.stop()
    return {
        "p90": Figure.of(p90, "ms", f"one 320x240 JPEG beside a bulk job of 12 MP files, ViT-B/32; alone "
                                    f"{Figure.of(alone).median:.0f} ms"),
        "of_allowed": Figure.ratio(p90, allowed, "of three times a decode and a batch, as they were meanwhile; at most 1"),
    }
