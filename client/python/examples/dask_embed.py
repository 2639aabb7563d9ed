#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds the images of a Parquet data set with Dask.

    pip install ./client/python 'dask[dataframe,distributed]' pyarrow
    EMBEDD_TARGET=gpu-1:50051,gpu-2:50051 python client/python/examples/dask_embed.py IN OUT [--scheduler tcp://HOST:8786]
"""

import argparse
import os

import dask.dataframe
import numpy as np
import pyarrow
import pyarrow.dataset
from dask.distributed import Client

from embedd import EmbedClient
from embedd.batch import EmbedColumn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("sink")
    parser.add_argument("--column", default="image")
    parser.add_argument("--scheduler", help="of a running cluster; else threads of this machine")
    arguments = parser.parse_args()
    target = os.environ.get("EMBEDD_TARGET", "localhost:50051")
    with EmbedClient(target) as client:
        fingerprint = client.wait_ready().model.fingerprint
    column = EmbedColumn(target, column=arguments.column, expect_fingerprint=fingerprint)
    table = dask.dataframe.read_parquet(arguments.source)
    kinds = {"vector": np.dtype(object), "error": np.dtype(object), "fingerprint": np.dtype(object)}
    embedded = table.map_partitions(column, meta={**dict(table.dtypes), **kinds})
    # Dask cannot guess what is in a column of objects.
    added = {"vector": pyarrow.list_(pyarrow.float32()), "error": pyarrow.string(), "fingerprint": pyarrow.string()}
    schema = pyarrow.schema([*pyarrow.dataset.dataset(arguments.source).schema, *map(pyarrow.field, added, added.values())])
    if arguments.scheduler:
        with Client(arguments.scheduler):
            embedded.to_parquet(arguments.sink, schema=schema, write_index=False)
    else:
        embedded.to_parquet(arguments.sink, schema=schema, write_index=False)


if __name__ == "__main__":
    main()
