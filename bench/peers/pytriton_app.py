# SPDX-License-Identifier: Apache-2.0
"""PyTriton: Triton's own server in front of a Python function, with its dynamic batcher; files as BYTES, pixels as UINT8."""

from __future__ import annotations


import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.model_config.common import QueuePolicy
from pytriton.triton import Triton, TritonConfig

from peers.tower import MAX_BATCH, PROCESSORS, Tower, arguments


def main() -> None:
    options = arguments()
    tower = Tower(options.model, PROCESSORS)

    @batch
    def files(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"vectors": tower.embed([bytes(image) for image in images[:, 0]])}

    @batch
    def pixels(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"vectors": tower.embed([image.tobytes() for image in images])}

    policy = None
    if options.queue:  # calls that wait; one more is with the model
        policy = QueuePolicy(max_queue_size=max(1, options.queue - 1), default_timeout_microseconds=int(1e6 * options.wait))
    config = ModelConfig(max_batch_size=MAX_BATCH,
                         batcher=DynamicBatcher(max_queue_delay_microseconds=10_000, default_queue_policy=policy))
    vectors = Tensor(name="vectors", dtype=np.float32, shape=(-1,))
    with Triton(config=TritonConfig(http_port=options.port, http_address="127.0.0.1", allow_grpc=False,
                                    allow_metrics=False)) as triton:
        triton.bind("files", files, [Tensor(name="images", dtype=bytes, shape=(1,))], [vectors], config=config)
        triton.bind("pixels", pixels, [Tensor(name="images", dtype=np.uint8, shape=(224, 224, 3))], [vectors], config=config)
        triton.serve()


if __name__ == "__main__":
    main()
