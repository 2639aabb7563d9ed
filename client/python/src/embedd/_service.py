# SPDX-License-Identifier: Apache-2.0
"""The methods of the service, by name; shared by both clients. Requests are written by hand (`_wire.py`)."""

from __future__ import annotations

from typing import Any, Callable

from .v1 import embedding_service_pb2 as pb

SERVICE = "/embedd.v1.EmbeddingService/"
PARSERS: "dict[str, Callable[[bytes], Any]]" = {
    "EmbedBatch": pb.EmbedBatchResponse.FromString,
    "GetServerInfo": pb.GetServerInfoResponse.FromString,
}
