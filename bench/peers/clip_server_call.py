# SPDX-License-Identifier: Apache-2.0
"""clip-as-service's own messages, made and read with its own library: images on stdin, a message on stdout, or back.

    clip_server_call.py body < IMAGES          each image after its length
    clip_server_call.py vectors < MESSAGE      prints float32, row by row
"""

from __future__ import annotations

import sys

import numpy as np
from docarray import Document, DocumentArray
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest


def body(data: bytes) -> bytes:
    documents, at = DocumentArray(), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at:at + 4], "little")
        documents.append(Document(blob=data[at + 4:end]))
        at = end
    request = DataRequest()
    request.header.exec_endpoint = "/encode"
    request.parameters = {"drop_image_content": True}
    request.data.docs = documents
    return request.proto.SerializeToString()


def vectors(data: bytes) -> bytes:
    answer = jina_pb2.DataRequestProto.FromString(data)
    if answer.header.status.code == jina_pb2.StatusProto.ERROR:
        sys.exit(answer.header.status.description)
    return np.ascontiguousarray(DataRequest(answer).docs.embeddings, np.float32).tobytes()


if __name__ == "__main__":
    sys.stdout.buffer.write({"body": body, "vectors": vectors}[sys.argv[1]](sys.stdin.buffer.read()))
