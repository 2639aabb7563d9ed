# SPDX-License-Identifier: Apache-2.0
"""What the clients hand back beside plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

import numpy as np

from .errors import InputRejected


@dataclass(frozen=True)
class CallTiming:
    """Where the time of one call went, in seconds. The server's stages give the longest of the call's images; they
    do not add up to `round_trip`, which also holds the network and gRPC.

    Attributes:
      images: images in the call.
      attempts: how often it was sent; more than 1 after refusals or an outage.
      round_trip: of the attempt that was answered, as the client saw it.
      decode, queue, execute: the server's stages.
      server_total: from the arrival of the request to the answer.
      largest_batch: images in the fullest device batch that the call rode in, other callers' images included.
      batches: device batches that the call rode in.
    """

    images: int
    attempts: int
    round_trip: float
    decode: float
    queue: float
    execute: float
    server_total: float
    largest_batch: int
    batches: int


@dataclass(frozen=True)
class EmbedResult:
    """Answer of `embed_images_detailed`.

    Attributes:
      vectors: array [N, D]; the row of a failed image is NaN.
      errors: why images failed, by ascending index; empty when all succeeded.
      fingerprint: of the model; vectors of two fingerprints must not be mixed. "" when nothing was sent.
      calls: timing of each call made.
    """

    vectors: np.ndarray
    errors: List[InputRejected] = field(default_factory=list)
    fingerprint: str = ""
    calls: List[CallTiming] = field(default_factory=list)

    @property
    def ok(self) -> np.ndarray:
        """Boolean array [N]: which rows hold a vector."""
        good = np.ones(len(self.vectors), dtype=bool)
        good[[error.index for error in self.errors]] = False
        return good


@dataclass(frozen=True)
class StreamResult:
    """One answer of `embed_stream`: exactly one of `vector` and `error` is set.

    Attributes:
      index: position of the image in the stream, from 0.
      id: the name that was passed with it; "" without one.
      vector: array [D].
      error: why the image failed.
      fingerprint: of the model; "" when the image failed before it was sent.
    """

    index: int
    id: str
    vector: Optional[np.ndarray]
    error: Optional[InputRejected]
    fingerprint: str = ""
