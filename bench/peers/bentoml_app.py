# SPDX-License-Identifier: Apache-2.0
"""BentoML: a service with one method; a call is one binary body. Runs in the process that serves it."""

from __future__ import annotations

import os
import pathlib
import sys

import bentoml

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

from peers.tower import Tower, unpack  # noqa: E402


@bentoml.service(traffic={"timeout": 600, "concurrency": 64}, workers=1)
class Embed:
    def __init__(self) -> None:
        self.tower = Tower(os.environ["PEER_MODEL"])

    @bentoml.api
    def embed(self, body: bytes) -> bytes:
        return self.tower.embed(unpack(body)).tobytes()
