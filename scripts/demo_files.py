# SPDX-License-Identifier: Apache-2.0
"""The folder of picture files that the demo embeds. Called by demo_run.py; draws with models/demo/draw.py."""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "models" / "demo"))

import draw  # noqa: E402 (lives in the model's folder)

SEED = 5  # Not one of train.py: the model has never seen these pictures.
FORMATS = (("jpg", {"quality": 90}), ("png", {}), ("webp", {"quality": 90}))
OWN_FILES = "[0-9][0-9][0-9][0-9]-*"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A file and what it shows."""

    path: pathlib.Path
    scene: draw.Scene

    @property
    def title(self) -> str:
        return draw.describe(self.scene)

    @property
    def short_title(self) -> str:
        return self.title.replace(f" {self.scene.size} ", " ")

    def shared(self, other: Picture) -> list[str]:
        """The attributes in which two pictures are the same."""
        order = ("shape", "colour", "texture", "count", "size", "background")
        return [name for name in order if getattr(self.scene, name) == getattr(other.scene, name)]


def draw_files(folder: pathlib.Path, count: int) -> list[Picture]:
    """Draws `count` pictures as JPEG, PNG and WebP by turns; files of an earlier run are replaced."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob(OWN_FILES):
        old.unlink()
    rng = np.random.default_rng(SEED)
    pictures = []
    for number in range(count):
        scene = draw.random_scene(rng, held_out=None)
        ending, options = FORMATS[number % len(FORMATS)]
        path = folder / f"{number:04}-{draw.describe(scene).replace(' ', '-')}.{ending}"
        draw.draw(scene, rng, short_side=(140, 420)).save(path, **options)
        pictures.append(Picture(path, scene))
    return pictures


def write_broken_file(folder: pathlib.Path, whole: pathlib.Path) -> pathlib.Path:
    """The first half of a good file: what an interrupted upload leaves."""
    path = folder / f"9999-broken{whole.suffix}"
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path
