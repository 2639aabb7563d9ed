# SPDX-License-Identifier: Apache-2.0
"""The job without a server: open_clip in this process, batch after batch. Run by `run`, one process per way.

`keeping`   as the failing job did: input and output tensors of each batch stay referenced until the job ends.
`remedies`  what people advise: no references, no_grad, gc.collect(), the allocator's cache emptied after each batch.

On mps and cuda the budget becomes PyTorch's memory fraction, so running out is real; on cpu PyTorch has no limit, and
the loop stops itself when its footprint passes the budget.
"""

from __future__ import annotations

import argparse
import gc
import pathlib
import sys

import numpy as np
import open_clip
import torch
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import footprint  # noqa: E402
from record import Recorder  # noqa: E402


def device_bytes(device: str) -> int:
    if device == "mps":
        return torch.mps.current_allocated_memory()
    if device == "cuda":
        return torch.cuda.memory_allocated()
    return 0  # PyTorch does not count on cpu


def set_budget(device: str, budget: int) -> None:
    if device == "mps":
        torch.mps.set_per_process_memory_fraction(min(1.0, budget / torch.mps.recommended_max_memory()))
    elif device == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(1.0, budget / torch.cuda.mem_get_info()[1]))


def empty_cache(device: str) -> None:
    if device == "mps":
        torch.mps.empty_cache()
    elif device == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["keeping", "remedies"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--vectors", required=True)
    options = parser.parse_args()

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device != "cpu":
        set_budget(options.device, options.budget)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{options.model}")
    model = model.visual.to(options.device).eval()
    files = sorted(pathlib.Path(options.images).iterdir())
    recorder = Recorder(options.csv, options.way)
    kept, vectors, lost, cpu = [], [], 0, footprint.cpu_seconds()
    for batch in range(options.batches):
        chosen = [files[(batch * options.batch_size + i) % len(files)] for i in range(options.batch_size)]
        try:
            pixels = torch.stack([preprocess(Image.open(f).convert("RGB")) for f in chosen])
            with torch.no_grad():
                device_pixels = pixels.to(options.device)
                features = model(device_pixels)
                features = features / features.norm(dim=-1, keepdim=True)
            row = features.float().cpu().numpy()
            if options.way == "keeping":
                kept.append((pixels, device_pixels, features))
            else:
                del pixels, device_pixels, features
                gc.collect()
                empty_cache(options.device)
            if batch * options.batch_size < len(files):
                vectors.append(row)
            if options.device == "cpu" and footprint.of() > options.budget:
                raise MemoryError(f"footprint above the budget of {options.budget} bytes")
        except (MemoryError, RuntimeError) as error:
            lost = (options.batches - batch) * options.batch_size
            recorder.add(batch, footprint.of(), device_bytes(options.device), batch * options.batch_size, lost, str(error),
                         cpu=footprint.cpu_seconds() - cpu, own=footprint.own())
            break
        recorder.add(batch, footprint.of(), device_bytes(options.device), (batch + 1) * options.batch_size, lost,
                     cpu=footprint.cpu_seconds() - cpu, own=footprint.own())
    recorder.close()
    np.save(options.vectors, np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32))


if __name__ == "__main__":
    main()
