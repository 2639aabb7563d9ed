# SPDX-License-Identifier: Apache-2.0
"""What the parity tests of families share: models of random weights, vectors of the server, and the comparison of both."""

import os
import pathlib
import subprocess

import numpy as np
import pytest
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[3]
LARGEST = 1e-5  # of a component of a unit vector
TEXTS = ["a photo of a cat", "A Photo of two DOGS, running!", "x", "caf\u00e9 au lait 123", "", "long words " * 60]

worst = {}  # difference, by family, kind of folder and tower
SMALL = {"hidden_size": 144, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 300}


def program(name):
    path = pathlib.Path(os.environ.get("EMBEDD_BUILD_DIR", ROOT / "build" / "dev")) / "bin" / name
    assert path.exists(), f"{path} is not built: scripts/build dev {name}"
    return path


def family_dump(folder, kind, inputs, batch, dtype="f32"):
    """Rows [n, dimension] and what the program printed."""
    out, count = folder.parent / "rows.f32", len(inputs)
    if kind == "text":
        (folder.parent / "texts").write_bytes(b"".join(t.encode() + b"\0" for t in inputs))
        inputs = [folder.parent / "texts"]
    done = subprocess.run([program("family_dump"), folder, out, dtype, str(batch), kind, *inputs], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    return np.fromfile(out, np.float32).reshape(count, -1), said


def randomise(model, seed=11):
    """Every parameter and buffer of numbers; spreads that keep activations of order one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            if not p.is_floating_point() or "rope" in name or "attn_mask" in name or "periods" in name:
                continue
            noise = torch.randn(p.shape, generator=generator)
            if "logit" in name:
                p.copy_(2 + noise)
            elif name.endswith("running_var"):
                p.copy_(0.5 + noise.abs())
            elif p.ndim >= 2 and "embed" not in name and "token" not in name and "probe" not in name \
                    and "latent" not in name:
                p.copy_(noise * (1.4 / p[0].numel() ** 0.5))
            elif "lambda" in name or "gamma" in name or "norm" in name and name.endswith("weight") \
                    or "ln" in name and name.endswith("weight"):
                p.copy_(1 + 0.3 * noise)
            else:
                p.copy_(0.3 * noise)
    return model.eval()


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def compare(family, kind, folder, what, inputs, wanted):
    for batch in (1, 3):
        rows, said = family_dump(folder, what, inputs, batch)
        delta = float(np.abs(unit(rows) - unit(wanted)).max())
        key = (family, kind, what)
        worst[key] = max(worst.get(key, 0), delta)
        assert delta <= LARGEST, (family, kind, what, batch, delta)
    return said


def check_sprung(wanted, other):
    """The comparison sees the trap: what the library gives once it is sprung is another vector, for every input."""
    moved = np.abs(unit(other) - unit(wanted)).max(axis=1)
    print("sprung: vectors move by", " ".join(f"{d:.1e}" for d in moved))
    assert (moved > 100 * LARGEST).all(), moved


def check_scale(model, said):
    """What turns a cosine into a probability is told, whatever shape its tensors have."""
    if hasattr(model, "logit_scale"):
        assert float(said["logit_scale"]) == pytest.approx(model.logit_scale.exp().item(), rel=1e-5)
    bias = getattr(model, "logit_bias", None)
    assert said["similarity"] == ("cosine" if bias is None else "sigmoid")
    assert float(said["logit_bias"]) == pytest.approx(0 if bias is None else bias.item(), rel=1e-5)


def pil(name):
    return getattr(transformers, name + "Pil", None) or getattr(transformers, name)


def ids_of(tokenizer, texts, length):
    return tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")["input_ids"]
