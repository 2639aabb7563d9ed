#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds the images of a Parquet data set with Ray Data, on as many machines as Ray has.

    pip install ./client/python 'ray[data]'
    EMBEDD_TARGET=gpu-1:50051,gpu-2:50051 python client/python/examples/ray_embed.py IN OUT --column image

Four actors for each server keep it busy; they only wait, so they ask for little of a processor. Rows that fail are
written with their reason in the column `error`. To write to Qdrant instead of Parquet: the package ray-qdrant.
"""

import argparse
import os

import ray

from embedd import EmbedClient
from embedd.batch import EmbedColumn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("sink")
    parser.add_argument("--column", default="image", help="bytes of image files, or paths that every machine can read")
    parser.add_argument("--actors", type=int, default=8)
    arguments = parser.parse_args()
    target = os.environ.get("EMBEDD_TARGET", "localhost:50051")
    with EmbedClient(target) as client:
        fingerprint = client.wait_ready().model.fingerprint  # all actors take this model's vectors and no other's
    embedded = ray.data.read_parquet(arguments.source).map_batches(
        EmbedColumn,
        fn_constructor_args=(target,),
        fn_constructor_kwargs={"column": arguments.column, "expect_fingerprint": fingerprint},
        batch_size=256,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=arguments.actors),
        num_cpus=0.2,
    )
    embedded.write_parquet(arguments.sink)


if __name__ == "__main__":
    main()
