# SPDX-License-Identifier: Apache-2.0
"""open_clip in a loop in the caller's own process, as most jobs have it: loop.py --model FOLDER [--decoders N]

Answers each line "KIND IMAGES SECONDS" on stdin with what it did; see bench/suites/peers.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from peers.tower import Tower
from suites import inputs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--decoders", type=int, default=0)
    options = parser.parse_args()
    tower = Tower(options.model, options.decoders)
    for line in sys.stdin:
        kind, images, seconds = line.split()
        call = inputs.call(kind, int(images))
        latencies = []
        start, cpu = time.perf_counter(), time.process_time()
        while not latencies or time.perf_counter() - start < float(seconds):
            began = time.perf_counter()
            tower.embed(call)
            latencies.append(time.perf_counter() - began)
        took = time.perf_counter() - start
        print(json.dumps({"images": len(latencies) * len(call), "seconds": took, "cpu": time.process_time() - cpu,
                          "latencies": latencies, "errors": 0}), flush=True)


if __name__ == "__main__":
    main()
