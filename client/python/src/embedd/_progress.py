# SPDX-License-Identifier: Apache-2.0
"""The progress bar: shown when asked for, or, left open, when the logger "embedd" is at INFO or DEBUG."""

from __future__ import annotations

import logging
from typing import Optional

log = logging.getLogger("embedd")


def wanted(show: Optional[bool]) -> bool:
    """The rule of sentence-transformers' `encode`."""
    if show is not None:
        return show
    return log.getEffectiveLevel() in (logging.INFO, logging.DEBUG)


class Progress:
    """Counts images. Without tqdm (an optional extra) it says so once and stays silent."""

    def __init__(self, show: Optional[bool], total: Optional[int]) -> None:
        self._bar = None
        if not wanted(show):
            return
        try:
            from tqdm.auto import tqdm
        except ImportError:
            if show:
                log.warning("no progress bar: tqdm is not installed (pip install tqdm)")
            return
        self._bar = tqdm(total=total, desc="Images", unit="img")

    def advance(self, images: int) -> None:
        if self._bar is not None:
            self._bar.update(images)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
