# SPDX-License-Identifier: Apache-2.0
"""A gRPC service as one writes it in an afternoon: grpcio, a thread per call, open_clip. Speaks embedd's own protocol."""

from __future__ import annotations

from concurrent import futures

import grpc

from embedd.v1 import embedding_service_pb2 as pb
from peers.tower import Tower, arguments


def main() -> None:
    options = arguments()
    tower = Tower(options.model)

    def embed(request, _context):
        vectors = tower.embed([entry.raw_image.rgb or entry.image for entry in request.inputs])
        return pb.EmbedBatchResponse(dimension=vectors.shape[1], encoding=1, data=vectors.tobytes())

    handler = grpc.unary_unary_rpc_method_handler(embed, request_deserializer=pb.EmbedBatchRequest.FromString,
                                                  response_serializer=pb.EmbedBatchResponse.SerializeToString)
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)],
                         maximum_concurrent_rpcs=options.queue or None)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("embedd.v1.EmbeddingService", {"EmbedBatch": handler}),))
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
