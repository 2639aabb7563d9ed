# SPDX-License-Identifier: Apache-2.0
"""One CSV line per batch."""

from __future__ import annotations

import csv
import time

FIELDS = ["way", "batch", "seconds", "footprint", "allocated", "images", "lost", "unreleased", "cpu", "own", "note"]


class Recorder:
    def __init__(self, path: str, way: str) -> None:
        self._file = open(path, "w", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(FIELDS)
        self._way = way
        self._start = time.monotonic()

    def add(self, batch: int, footprint: int, allocated: int, images: int, lost: int, note: str = "",
            unreleased: int = 0, cpu: float = 0, own: int = 0) -> None:
        """`images` done, `lost` and `cpu` seconds so far; `allocated`: bytes of device tensors, where they are counted; `own`:
        see footprint.py."""
        seconds = time.monotonic() - self._start
        self._csv.writerow([self._way, batch, f"{seconds:.3f}", footprint, allocated, images, lost, unreleased,
                            f"{cpu:.2f}", own, note.splitlines()[0] if note else ""])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(path: str) -> list[dict]:
    with open(path, newline="") as file:
        return [{key: (value if key in ("way", "note") else float(value)) for key, value in line.items()}
                for line in csv.DictReader(file)]
