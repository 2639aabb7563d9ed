#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Embeds the images of a Parquet data set with Spark.

    pip install ./client/python pyspark pandas pyarrow
    EMBEDD_TARGET=gpu-1:50051,gpu-2:50051 PYSPARK_PYTHON=python spark-submit client/python/examples/spark_embed.py IN OUT

PYSPARK_PYTHON names a Python that has this package. A batch is `spark.sql.execution.arrow.maxRecordsPerBatch` rows: 256
keeps memory small and the servers busy.
"""

import argparse
import os

from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField, StructType

from embedd import EmbedClient
from embedd.batch import EmbedColumn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("sink")
    parser.add_argument("--column", default="image")
    arguments = parser.parse_args()
    target = os.environ.get("EMBEDD_TARGET", "localhost:50051")
    with EmbedClient(target) as client:
        fingerprint = client.wait_ready().model.fingerprint
    column = EmbedColumn(target, column=arguments.column, expect_fingerprint=fingerprint)

    def embed(frames):
        for frame in frames:
            yield column(frame)

    spark = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "256").getOrCreate()
    table = spark.read.parquet(arguments.source)
    added = [
        StructField("vector", ArrayType(FloatType())),
        StructField("error", StringType()),
        StructField("fingerprint", StringType()),
    ]
    table.mapInPandas(embed, StructType([*table.schema.fields, *added])).write.parquet(arguments.sink)


if __name__ == "__main__":
    main()
