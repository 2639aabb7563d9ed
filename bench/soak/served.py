# SPDX-License-Identifier: Apache-2.0
"""The job through embedd: batches of 16 files, a few calls under way, memory of the server after each."""

from __future__ import annotations

import collections
import concurrent.futures
import pathlib

import footprint
import numpy as np
from record import Recorder
from server import Server


def run(server: Server, client, files: list[pathlib.Path], batches: int, batch_size: int, csv: str,
        in_flight: int = 2) -> np.ndarray:
    """Vectors of the first pass over `files`. Lost images are NaN rows there and counted in the CSV."""
    recorder = Recorder(csv, "embedd")
    vectors, done, lost, unreleased = [], 0, 0, 0.0
    cpu = footprint.cpu_seconds(server.pid)

    def call(batch: int) -> np.ndarray:
        chosen = [files[(batch * batch_size + i) % len(files)] for i in range(batch_size)]
        return client.embed_images(chosen, batch_size=batch_size, on_error="return", priority="bulk", timeout=300)

    with concurrent.futures.ThreadPoolExecutor(in_flight) as pool:
        waiting = collections.deque()
        for batch in range(batches + in_flight):
            if batch < batches:
                waiting.append(pool.submit(call, batch))
            if batch < in_flight:
                continue
            rows = waiting.popleft().result()
            done += batch_size
            lost += int(np.isnan(rows).any(axis=1).sum())
            if (batch - in_flight) * batch_size < len(files):
                vectors.append(rows)
            series = server.metrics()
            unreleased = max(unreleased, series.get("embedd_batch_unreleased_bytes", 0.0))
            recorder.add(batch - in_flight, footprint.of(server.pid),
                         int(series['embedd_device_memory_bytes{device="cpu",kind="allocated"}']), done, lost,
                         unreleased=int(unreleased), cpu=footprint.cpu_seconds(server.pid) - cpu,
                         own=footprint.own(server.pid))
    recorder.close()
    return np.concatenate(vectors)
