# SPDX-License-Identifier: Apache-2.0
"""The methods that are called, by name; shared by both clients. Requests are written by hand (`_wire.py`)."""

from __future__ import annotations

from typing import Any

from .v1 import embedding_service_pb2 as pb

_SERVICE = "/embedd.v1.EmbeddingService/"
HEALTH = "Health"


def _serving(answer: bytes) -> bool:
    """Of a HealthCheckResponse: its only field is the state, 1 is SERVING."""
    return answer == b"\x08\x01"


_METHODS = {
    "EmbedBatch": (_SERVICE + "EmbedBatch", pb.EmbedBatchResponse.FromString),
    "EmbedStream": (_SERVICE + "EmbedStream", pb.EmbedStreamResponse.FromString),
    "GetServerInfo": (_SERVICE + "GetServerInfo", pb.GetServerInfoResponse.FromString),
    HEALTH: ("/grpc.health.v1.Health/Check", _serving),
}


def method(channel: Any, name: str) -> Any:
    """The method of a channel of either kind."""
    path, parse = _METHODS[name]
    make = channel.stream_stream if name == "EmbedStream" else channel.unary_unary
    return make(path, response_deserializer=parse)
