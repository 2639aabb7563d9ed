# SPDX-License-Identifier: Apache-2.0
"""What the process holds when nothing runs: the weights once, no pages of the model's files, and a cache that follows
the highest batch. `docs/memory.md` has the table."""

import json
import time
import urllib.request

import numpy as np
from safetensors.numpy import save_file

from embedd import EmbedClient
from harness import MIB, MODEL, Server

B32 = {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "head_width": 64}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}


def blocks(prefix, width, layers, make):
    tensors = {}
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}."
        for norm in ("ln_1", "ln_2"):
            tensors[f"{block}{norm}.weight"], tensors[f"{block}{norm}.bias"] = make(width), make(width)
        for name, rows, columns in (("attn.in_proj_", 3 * width, width), ("attn.out_proj.", width, width),
                                    ("mlp.c_fc.", 4 * width, width), ("mlp.c_proj.", width, 4 * width)):
            tensors[f"{block}{name}weight"], tensors[f"{block}{name}bias"] = make(rows, columns), make(rows)
    return tensors


def write_b32(folder):
    """ViT-B/32 with both towers, as every folder of OpenCLIP has them; small random numbers. Returns the bytes of the
    image tower."""
    rng = np.random.default_rng(0)

    def make(*shape):
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    vision = {
        "visual.class_embedding": make(768), "visual.positional_embedding": make(50, 768),
        "visual.conv1.weight": make(768, 3, 32, 32), "visual.proj": make(768, 512),
        **{f"visual.{norm}.{kind}": make(768) for norm in ("ln_pre", "ln_post") for kind in ("weight", "bias")},
        **blocks("visual.", 768, 12, make),
    }
    text = {
        "token_embedding.weight": make(49408, 512), "positional_embedding": make(77, 512), "text_projection": make(512, 512),
        "ln_final.weight": make(512), "ln_final.bias": make(512), "logit_scale": np.full((), 4.6, np.float32),
        **blocks("", 512, 12, make),
    }
    save_file({**vision, **text}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": {"embed_dim": 512, "vision_cfg": B32, "text_cfg": TEXT}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return sum(tensor.nbytes for tensor in vision.values())


def mapped(pid, part):
    """Resident bytes of the mappings of files whose path holds `part`."""
    total, inside = 0, False
    with open(f"/proc/{pid}/smaps") as lines:
        for line in lines:
            first = line.split(maxsplit=1)[0]
            if "-" in first and not first.endswith(":"):
                inside = part in line
            elif inside and first == "Rss:":
                total += int(line.split()[1]) * 1024
    return total


def pictures(count, side):
    rng = np.random.default_rng(1)
    return list(rng.integers(0, 256, (count, side, side, 3), np.uint8))


def test_resident_memory_at_rest_is_the_weights_and_250_mib(tmp_path):
    weights = write_b32(tmp_path)
    with Server("--dtype", "f32", model=tmp_path) as server, EmbedClient(server.target, timeout=120) as client:
        client.embed_images(pictures(8, 224))
        rest = server.resident()
        print(f"\nweights {weights / MIB:.0f} MiB, resident {rest / MIB:.0f} MiB, "
              f"of the model's file {mapped(server.pid, 'open_clip_model') / MIB:.1f} MiB")
        assert mapped(server.pid, "open_clip_model") < 4 * MIB
        assert rest <= weights + 250 * MIB


def test_the_cache_stays_near_the_highest_batch_with_mixed_calls():
    with Server("--release", "never", model=MODEL) as server, EmbedClient(server.target, timeout=120) as client:
        images, sizes = pictures(32, 64), np.random.default_rng(2)
        highest, largest_cache = 0, 0
        for _ in range(120):
            client.embed_images(images[: sizes.choice([1, 4, 16, 32])])
            with urllib.request.urlopen(f"http://{server.http}/batches", timeout=30) as answer:
                batches = json.load(answer)
            highest = max([highest, *(batch["peak"] - batch["before"] for batch in batches)])
            cache = (server.metric('embedd_device_memory_bytes{kind="reserved"}')
                     - server.metric('embedd_device_memory_bytes{kind="allocated"}'))
            largest_cache = max(largest_cache, cache)
        print(f"\nhighest batch {highest / MIB:.2f} MiB, cache {largest_cache / MIB:.2f} MiB")
        assert highest > 0
        assert largest_cache <= 1.5 * highest
