#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds a folder of pictures, stores the vectors in Qdrant, and answers texts from them.

    pip install ./client/python qdrant-client tqdm
    python client/python/examples/qdrant_ingest.py PICTURES --collection pictures
    python client/python/examples/qdrant_ingest.py PICTURES --collection pictures --find "a red star"

Needs a running embedd (EMBEDD_TARGET) and a running Qdrant; `--qdrant FOLDER` keeps the collection in files instead.
Every point carries the fingerprint of the model; a second run with another model stops before it mixes vectors.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import uuid
from typing import Iterable, Iterator, List, Tuple

import numpy as np
from qdrant_client import QdrantClient, models

from embedd import EmbedClient

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Pictures that are embedded before their vectors are stored: bounds memory, and what is done anew after a crash.
CHUNK = 2000


def pictures(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)


def chunks(paths: Iterable[pathlib.Path], size: int) -> Iterator[List[pathlib.Path]]:
    rest = iter(paths)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


def prepare(store: QdrantClient, collection: str, dimension: int, fingerprint: str) -> None:
    """Makes the collection, or checks that it holds vectors of this model."""
    if not store.collection_exists(collection):
        store.create_collection(
            collection, vectors_config=models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        )
    some, _ = store.scroll(collection, limit=1, with_payload=["model_fingerprint"])
    if some and some[0].payload.get("model_fingerprint") != fingerprint:
        stored = some[0].payload.get("model_fingerprint", "unknown")
        raise SystemExit(f"collection {collection!r} holds vectors of model {stored}; the server runs {fingerprint}")


def ingest(client: EmbedClient, store: QdrantClient, collection: str, folder: pathlib.Path, chunk: int = CHUNK) -> int:
    """Stores the vectors of all pictures under `folder`; gives their number. A second run overwrites."""
    model = client.wait_ready().model
    prepare(store, collection, model.dimension, model.fingerprint)
    count = 0
    for paths in chunks(pictures(folder), chunk):
        result = client.embed_images_detailed(paths, priority="bulk", expect_fingerprint=model.fingerprint)
        for error in result.errors:
            print(error)
        good = np.flatnonzero(result.ok)  # a row of NaN must never be stored
        names = [str(paths[index]) for index in good]
        store.upload_collection(
            collection,
            vectors=result.vectors[good],
            ids=[str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in names],
            payload=[{"path": name, "model_fingerprint": model.fingerprint} for name in names],
            max_retries=3,
            wait=True,
        )
        count += len(good)
    return count


def find(client: EmbedClient, store: QdrantClient, collection: str, text: str, limit: int = 5) -> List[Tuple[str, float]]:
    """The pictures nearest to a text: path and cosine. The model must have a text tower."""
    found = store.query_points(collection, query=client.embed_texts([text])[0].tolist(), limit=limit)
    return [(point.payload["path"], point.score) for point in found.points]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--collection", default="pictures")
    parser.add_argument("--qdrant", default="http://localhost:6333", help="URL of the server, or a folder")
    parser.add_argument("--find", metavar="TEXT", help="store nothing; show the pictures nearest to this text")
    arguments = parser.parse_args()

    served = arguments.qdrant.startswith(("http://", "https://"))
    store = QdrantClient(url=arguments.qdrant) if served else QdrantClient(path=arguments.qdrant)
    with EmbedClient() as client:
        if arguments.find:
            for path, score in find(client, store, arguments.collection, arguments.find):
                print(f"{score:.3f}  {path}")
        else:
            print(ingest(client, store, arguments.collection, arguments.folder), "pictures stored")


if __name__ == "__main__":
    main()
