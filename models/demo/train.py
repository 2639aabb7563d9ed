# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model from nothing, on pictures it draws itself, and writes it as an OpenCLIP folder.

    .venv/bin/python models/demo/train.py --output models/demo

Called by hand only; the server, the demo and the tests use the result. The model is OpenCLIP's own CLIP class, so
`open_clip.create_model_and_transforms("local-dir:models/demo")` loads the folder.

What is added to plain CLIP training makes one CPU core enough:
- A caption such as "a red shape" fits many pictures of a batch; every picture that it fits counts as a match, not only
  the one it was written for.
- The image vectors are also asked for the attributes directly, through linear heads that fade out towards the end and
  are thrown away.
- The first steps see single, large, plain objects only.
- The patch embedding starts as the principal components of patches, scaled to like strength, so that edges count beside
  colours from the first step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import time

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

import draw

MODEL_CFG = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": 64, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32, "pool_type": "avg",
    },
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 2},
}
PREPROCESS_CFG = {
    "mean": list(open_clip.OPENAI_DATASET_MEAN),
    "std": list(open_clip.OPENAI_DATASET_STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
IMAGE_SIZE = MODEL_CFG["vision_cfg"]["image_size"]
NAMES = tuple(draw.ATTRIBUTES)

# Share of the training that sees easy pictures only.
EASY_SHARE = 0.2

# Seeds of the drawn pictures: never the same for two purposes. scripts/demo_files.py and
# test_demo_model.py have others.
TRAINING_SEED, SEEN_PAIRS_SEED, HELD_OUT_SEED, EASY_SEED = 1, 2, 3, 4


# --- data -----------------------------------------------------------------------------------------------------------


def draw_pictures(count: int, seed: int, held_out: bool, easy: bool = False) -> tuple[list[draw.Scene], torch.Tensor]:
    """`count` scenes and their pictures, resized and cropped as for the model: uint8 [count, 3, size, size].
    `easy`: one large plain object in each."""
    rng = np.random.default_rng(seed)
    preprocess = image_transform_v2(PreprocessCfg(size=IMAGE_SIZE, **PREPROCESS_CFG), is_train=False)
    resize_and_crop = preprocess.transforms[:2]  # The rest turns pixels into numbers: to_input().
    scenes, pixels = [], torch.empty((count, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    for i in range(count):
        scene = draw.random_scene(rng, held_out=held_out)
        if easy:
            place = scene.position or str(rng.choice(draw.POSITIONS))
            scene = dataclasses.replace(scene, count="one", size="large", texture="plain", position=place)
        picture = draw.draw(scene, rng, short_side=(64, 128))
        for step in resize_and_crop:
            picture = step(picture)
        scenes.append(scene)
        pixels[i] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return scenes, pixels


def to_input(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels [n, 3, h, w] of 0 to 255 to what the model takes."""
    mean = torch.tensor(PREPROCESS_CFG["mean"]).view(3, 1, 1)
    std = torch.tensor(PREPROCESS_CFG["std"]).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


def shifted(pixels: torch.Tensor, generator: torch.Generator, by: int = 2) -> torch.Tensor:
    """A batch moved by up to `by` pixels, edges repeated, so that places are not learned to the pixel."""
    padded = functional.pad(pixels.float(), (by, by, by, by), mode="replicate")
    dx, dy = torch.randint(0, 2 * by + 1, (2,), generator=generator).tolist()
    return padded[:, :, dy : dy + IMAGE_SIZE, dx : dx + IMAGE_SIZE]


def codes(scenes: list[draw.Scene]) -> torch.Tensor:
    """The attributes of scenes as numbers, int64 [n, attributes]; -1 where there is no value."""
    rows = [
        [draw.ATTRIBUTES[name].index(getattr(s, name)) if getattr(s, name) else -1 for name in NAMES] for s in scenes
    ]
    return torch.tensor(rows)


class Vocabulary:
    """OpenCLIP's tokenizer cut down to the few tokens that captions use, in the same order (the end token stays the
    largest, which is how the text tower finds it). Keeps 99.8 % of the embedding table out of the training."""

    def __init__(self, rng: np.random.Generator):
        self.tokenizer = open_clip.SimpleTokenizer(context_length=MODEL_CFG["text_cfg"]["context_length"])
        phrases = [draw.question(name, value) for name, values in draw.ATTRIBUTES.items() for value in values]
        phrases += [draw.caption(draw.random_scene(rng, held_out=None), rng)[0] for _ in range(5000)]
        self.used = self.tokenizer(phrases).unique()

    def __call__(self, phrases: list[str]) -> torch.Tensor:
        return torch.searchsorted(self.used, self.tokenizer(phrases))

    def full_table(self, weight: torch.Tensor) -> torch.Tensor:
        """The table for the whole tokenizer. Words never met mean nothing: zeros, which also compress well."""
        table = torch.zeros(MODEL_CFG["text_cfg"]["vocab_size"], weight.shape[1])
        table[self.used] = weight
        return table


# --- model ----------------------------------------------------------------------------------------------------------


def new_model(vocabulary: Vocabulary, pixels: torch.Tensor) -> open_clip.CLIP:
    """OpenCLIP's CLIP with a short embedding table and an image tower that starts better than at random; `pixels` are
    pictures to learn the patches from."""
    model = open_clip.CLIP(**MODEL_CFG)
    model.token_embedding = nn.Embedding(len(vocabulary.used), MODEL_CFG["text_cfg"]["width"])
    nn.init.normal_(model.token_embedding.weight, std=0.02)
    visual, width, patch = model.visual, MODEL_CFG["vision_cfg"]["width"], MODEL_CFG["vision_cfg"]["patch_size"]

    # Position embeddings: waves over the grid, so that patches know their neighbours.
    steps = torch.arange(visual.grid_size[0]).float()
    frequencies = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    y, x = (t.reshape(-1, 1) * frequencies for t in torch.meshgrid(steps, steps, indexing="ij"))
    with torch.no_grad():
        visual.positional_embedding[0] = 0
        visual.positional_embedding[1:] = 0.5 * torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], 1)

        # Patch embedding: the first principal components of patches.
        patches = functional.unfold(to_input(pixels), patch, stride=patch).transpose(1, 2).flatten(0, 1)
        patches -= patches.mean(0)
        strength, component = torch.linalg.eigh(patches.T @ patches / len(patches))
        strength, component = strength[-width:], component[:, -width:]
        visual.conv1.weight.copy_((0.5 * component / (strength + 0.02).sqrt()).T.view_as(visual.conv1.weight))
    return model


def contrastive_loss(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """CLIP's two-way cross entropy; `fits` [n, n] says which caption (column) is true of which picture (row)."""
    targets = fits.float()
    by_image = -(targets / targets.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(targets / targets.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


@torch.no_grad()
def accuracy(model, tokenize, scenes: list[draw.Scene], pixels: torch.Tensor) -> dict[str, float]:
    """Zero-shot accuracy by attribute: does the right phrase of draw.question() score highest?"""
    model.eval()
    image = torch.cat([model.encode_image(to_input(part), normalize=True) for part in pixels.split(250)])
    truth, result = codes(scenes), {}
    for column, name in enumerate(NAMES):
        phrases = tokenize([draw.question(name, value) for value in draw.ATTRIBUTES[name]])
        has_value = truth[:, column] >= 0
        right = (image @ model.encode_text(phrases, normalize=True).T).argmax(1) == truth[:, column]
        result[name] = right[has_value].float().mean().item()
    model.train()
    return result


def fade(progress: float) -> float:
    """1 for the first half of the training, then down to 0 along a half wave."""
    return 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * progress - 1))) + 1e-3


def train(args: argparse.Namespace, vocabulary: Vocabulary):
    """Returns the trained model; reports on the way, and leaves a copy in the output folder at each report."""
    rng = np.random.default_rng(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    start = time.time()
    easy_count = args.pictures // 4
    scenes, pixels = draw_pictures(easy_count, EASY_SEED, held_out=False, easy=True)
    more_scenes, more_pixels = draw_pictures(args.pictures - easy_count, TRAINING_SEED, held_out=False)
    scenes, pixels = scenes + more_scenes, torch.cat([pixels, more_pixels])
    check = draw_pictures(400, SEEN_PAIRS_SEED, held_out=False)
    all_codes = codes(scenes)
    print(f"drew {args.pictures} pictures in {time.time() - start:.0f} s", flush=True)

    model = new_model(vocabulary, pixels[-2000:])
    heads = nn.ModuleList(nn.Linear(MODEL_CFG["embed_dim"], len(values)) for values in draw.ATTRIBUTES.values())
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.03},
         {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}],
        lr=args.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 60, fade(step / args.steps)))

    start, order = time.time(), torch.empty(0, dtype=torch.int64)
    for step in range(args.steps):
        if len(order) < args.batch:
            easy = step < EASY_SHARE * args.steps
            order = torch.randperm(easy_count if easy else args.pictures, generator=generator)
        index, order = order[: args.batch], order[args.batch :]
        captions = [draw.caption(scenes[i], rng) for i in index.tolist()]
        truth = all_codes[index]
        named = torch.tensor([[name in names for name in NAMES] for _, names in captions])
        fits = ((truth[:, None] == truth[None]) | ~named[None]).all(2)

        vectors = model.encode_image(to_input(shifted(pixels[index], generator)))
        text = model.encode_text(vocabulary([phrase for phrase, _ in captions]), normalize=True)
        logits = model.logit_scale.exp() * functional.normalize(vectors, dim=-1) @ text.T
        direct = sum(
            functional.cross_entropy(head(vectors), truth[:, column], ignore_index=-1)
            for column, head in enumerate(heads)
        )
        loss = contrastive_loss(logits, fits) + direct * fade(step / args.steps)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if (step + 1) % args.report_every == 0 or step + 1 == args.steps:
            scores = " ".join(f"{name} {score:.2f}" for name, score in accuracy(model, vocabulary, *check).items())
            print(f"step {step + 1} loss {loss.item():.2f} {time.time() - start:.0f} s | {scores}", flush=True)
            save(model, vocabulary, args.output)
    return model


def save(model, vocabulary: Vocabulary, folder: pathlib.Path) -> None:
    """Writes the OpenCLIP folder; weights as 16-bit floats."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = dict(model.state_dict())
    tensors["token_embedding.weight"] = vocabulary.full_table(tensors["token_embedding.weight"])
    tensors = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def report(folder: pathlib.Path) -> None:
    """Prints the table of README.md: the written folder, loaded by open_clip, on pictures it never saw."""
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    seen = accuracy(model, tokenizer, *draw_pictures(2000, SEEN_PAIRS_SEED, held_out=False))
    held_out = accuracy(model, tokenizer, *draw_pictures(2000, HELD_OUT_SEED, held_out=True))
    print("\n| attribute | values | new pictures | new pictures of held-out pairs |\n|---|---|---|---|")
    for name in NAMES:
        print(f"| {name} | {len(draw.ATTRIBUTES[name])} | {seen[name]:.1%} | {held_out[name]:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the demo model and writes it as an OpenCLIP folder.")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the config and the weights")
    parser.add_argument("--pictures", type=int, default=26000, help="training pictures to draw")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-every", type=int, default=100, help="steps between reports")
    parser.add_argument("--only-report", action="store_true", help="measure the folder; train nothing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if not args.only_report:
        vocabulary = Vocabulary(np.random.default_rng(args.seed + 1000))
        save(train(args, vocabulary), vocabulary, args.output)
    report(args.output)


if __name__ == "__main__":
    main()
