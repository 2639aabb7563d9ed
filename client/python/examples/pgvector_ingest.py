#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds a folder of pictures and stores the vectors in PostgreSQL with pgvector.

    pip install ./client/python "psycopg[binary]" pgvector
    python client/python/examples/pgvector_ingest.py PICTURES --database postgresql://localhost/pictures

Needs a running embedd (EMBEDD_TARGET) and a database in which `CREATE EXTENSION vector` is allowed. Each row carries the
fingerprint of the model; a second run overwrites, and one with another model stops before it mixes vectors.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import List, Tuple

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from embedd import EmbedClient

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# Pictures that are embedded before their vectors are stored, in one transaction.
CHUNK = 2000


def connect(address: str) -> psycopg.Connection:
    database = psycopg.connect(address, autocommit=True)
    database.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(database)
    return database


def prepare(database: psycopg.Connection, dimension: int, fingerprint: str) -> None:
    """Makes the table, or checks that it holds vectors of this model."""
    database.execute(
        "CREATE TABLE IF NOT EXISTS pictures (path text PRIMARY KEY, fingerprint text NOT NULL, "
        f"vector vector({dimension:d}) NOT NULL)"
    )
    other = database.execute("SELECT fingerprint FROM pictures WHERE fingerprint <> %s LIMIT 1", (fingerprint,)).fetchone()
    if other:
        raise SystemExit(f"the table holds vectors of model {other[0]}; the server runs {fingerprint}")


def ingest(client: EmbedClient, database: psycopg.Connection, folder: pathlib.Path, chunk: int = CHUNK) -> int:
    """Stores the vectors of all pictures under `folder`; gives their number."""
    model = client.wait_ready().model
    prepare(database, model.dimension, model.fingerprint)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    count = 0
    for start in range(0, len(paths), chunk):
        part = paths[start : start + chunk]
        result = client.embed_images_detailed(part, priority="bulk", expect_fingerprint=model.fingerprint)
        for error in result.errors:
            print(error)
        good = np.flatnonzero(result.ok)  # a row of NaN must never be stored
        with database.transaction(), database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO pictures (path, fingerprint, vector) VALUES (%s, %s, %s) "
                "ON CONFLICT (path) DO UPDATE SET fingerprint = excluded.fingerprint, vector = excluded.vector",
                [(str(part[index]), model.fingerprint, result.vectors[index]) for index in good],
            )
        count += len(good)
    return count


def find(client: EmbedClient, database: psycopg.Connection, text: str, limit: int = 5) -> List[Tuple[str, float]]:
    """The pictures nearest to a text: path and cosine. The model must have a text tower."""
    vector = client.embed_texts([text])[0]
    query = "SELECT path, 1 - (vector <=> %s) FROM pictures ORDER BY vector <=> %s LIMIT %s"
    return database.execute(query, (vector, vector, limit)).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--database", default="postgresql://localhost/postgres")
    parser.add_argument("--find", metavar="TEXT", help="store nothing; show the pictures nearest to this text")
    arguments = parser.parse_args()
    with EmbedClient() as client, connect(arguments.database) as database:
        if arguments.find:
            for path, score in find(client, database, arguments.find):
                print(f"{score:.3f}  {path}")
        else:
            print(ingest(client, database, arguments.folder), "pictures stored")


if __name__ == "__main__":
    main()
