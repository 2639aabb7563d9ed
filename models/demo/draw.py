# SPDX-License-Identifier: Apache-2.0
"""Draws the small coloured pictures that the demo model is trained, tested and shown on.

Used by train.py (training and test pictures), scripts/demo_files.py (the files of the demo) and test_demo_model.py.
Needs numpy and Pillow only. Everything follows from the numpy generator that the caller passes in: the same seed gives
the same pictures, byte for byte, with the same numpy and Pillow.

A picture shows one to four like objects on a background. What can be told about it is a `Scene`; a caption names some
of it. Objects stay inside the central square, because CLIP's preprocessing cuts the rest away.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "orange": (243, 130, 24),
    "yellow": (244, 208, 30),
    "green": (48, 150, 62),
    "turquoise": (38, 186, 186),
    "blue": (42, 84, 208),
    "purple": (128, 52, 168),
    "pink": (244, 128, 178),
    "brown": (124, 78, 42),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "ring", "crescent")
TEXTURES = ("plain", "striped", "dotted", "checkered")
COUNTS = ("one", "two", "three", "four")
SIZES = ("small", "large")
POSITIONS = ("centre", "left", "right", "top", "bottom", "top left", "top right", "bottom left", "bottom right")
BACKGROUNDS = {
    "white": (246, 246, 246),
    "grey": (158, 160, 164),
    "black": (22, 22, 26),
    "cream": (244, 230, 196),
    "mint": (196, 236, 214),
}

# The attributes of a scene and their values, in the order in which a caption names them. `position` is empty unless
# there is exactly one object.
ATTRIBUTES = {
    "count": COUNTS,
    "size": SIZES,
    "texture": TEXTURES,
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "position": POSITIONS,
    "background": tuple(BACKGROUNDS),
}

# Colour-and-shape pairs that are never drawn for training: each colour and each shape is seen, the pair is not.
HELD_OUT = frozenset((colour, SHAPES[(3 * i + 1) % len(SHAPES)]) for i, colour in enumerate(COLOURS) if i < len(SHAPES))

# Width over height; landscape and portrait.
_ASPECTS = (1.0, 1.0, 4 / 3, 3 / 2, 16 / 9, 3 / 4, 2 / 3, 9 / 16)
# Pixels drawn per pixel kept, along each side: smooth edges.
_SUPERSAMPLE = 4


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a picture shows, in the words of ATTRIBUTES."""

    count: str
    size: str
    texture: str
    colour: str
    shape: str
    position: str
    background: str

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT


def random_scene(rng: np.random.Generator, held_out: bool | None = False) -> Scene:
    """A random scene. `held_out`: False gives no held-out colour-shape pair, True only those, None any."""
    while True:
        pick = {name: str(rng.choice(values)) for name, values in ATTRIBUTES.items()}
        # Half of the pictures have one object: the position can only be told there.
        if rng.random() < 0.33:
            pick["count"] = "one"
        if pick["count"] != "one":
            pick["position"] = ""
        scene = Scene(**pick)
        if held_out is None or scene.held_out == held_out:
            return scene


def draw(scene: Scene, rng: np.random.Generator, short_side: tuple[int, int] = (72, 200)) -> Image.Image:
    """Draws a scene as an RGB picture. The shorter side is in `short_side` (pixels); the proportions of the picture,
    the exact colours, angles and places, shading and noise are random."""
    short = int(rng.integers(short_side[0], short_side[1] + 1))
    aspect = float(rng.choice(_ASPECTS))
    width, height = (round(short * aspect), short) if aspect >= 1 else (short, round(short / aspect))
    canvas = _background(width, height, BACKGROUNDS[scene.background], rng)
    colour = np.clip(np.array(COLOURS[scene.colour]) + rng.normal(0, 7, 3), 0, 255)
    for cx, cy, radius in places(scene, rng):
        x = (width - short) / 2 + cx * short
        y = (height - short) / 2 + cy * short
        _paint(canvas, x, y, radius * short, scene, colour, rng)
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * rng.uniform(0, 6)
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8), "RGB")


# --- captions -------------------------------------------------------------------------------------------------------

# How often a caption names each attribute. What is named often weighs most in the vectors: two pictures shall be alike
# by shape and colour first.
_NAMED = {
    "count": 0.5, "size": 0.3, "texture": 0.5, "colour": 0.9, "shape": 0.9, "position": 0.4, "background": 0.25,
}
_PREFIXES = ("", "", "a picture of ", "a drawing of ", "an image of ", "an illustration of ")
_PLURALS = {"cross": "crosses"}


def caption(scene: Scene, rng: np.random.Generator, named: set[str] | None = None) -> tuple[str, set[str]]:
    """A phrase about a scene, and which attributes it names. `named` asks for exactly these; otherwise a random choice
    with at least one."""
    if named is None:
        named = {name for name, often in _NAMED.items() if getattr(scene, name) and rng.random() < often}
        if not named:
            named = {"colour"}
    values = {name: getattr(scene, name) for name in named}
    single = scene.count == "one"
    noun = values.get("shape", "shape" if rng.random() < 0.7 else "thing")
    if not single:
        noun = _PLURALS.get(noun, noun + "s")
    words = [values[name] for name in ("size", "texture", "colour") if name in values] + [noun]
    if "count" in values:
        words.insert(0, values["count"] if not single or rng.random() < 0.3 else "a single")
    elif single:
        words.insert(0, "a")
    else:
        words.insert(0, "several" if rng.random() < 0.5 else "some")
    text = " ".join(words)
    if "position" in values:
        text += " " + _position_phrase(values["position"], rng)
    if "background" in values:
        phrase = rng.choice(("on a {} background", "on {}", "in front of a {} background"))
        text += " " + str(phrase).format(values["background"])
    return str(rng.choice(_PREFIXES)) + text, named


def singular(noun: str) -> str:
    """The name of a shape for one or more of it; other words stay as they are."""
    for shape in SHAPES:
        if noun in (shape, _PLURALS.get(shape, shape + "s")):
            return shape
    return noun


def describe(scene: Scene) -> str:
    """What the objects are, always in the same words: the name of a picture."""
    noun = scene.shape if scene.count == "one" else _PLURALS.get(scene.shape, scene.shape + "s")
    return f"{scene.count} {scene.size} {scene.texture} {scene.colour} {noun}"


def question(attribute: str, value: str) -> str:
    """The plain phrase that names one attribute only: what zero-shot classification compares a picture with."""
    return {
        "count": "a single shape" if value == "one" else f"{value} shapes",
        "size": f"a {value} shape",
        "texture": f"a {value} shape",
        "colour": f"a {value} shape",
        "shape": f"a {value}",
        "position": f"a shape {'in' if value == 'centre' else 'at'} the {value}",
        "background": f"a shape on a {value} background",
    }[attribute]


def _position_phrase(position: str, rng: np.random.Generator) -> str:
    if position == "centre":
        return str(rng.choice(("in the centre", "in the middle")))
    if " " in position:
        return str(rng.choice(("at the {}", "in the {} corner"))).format(position)
    return str(rng.choice(("at the {}", "on the {} side"))).format(position)


# --- pixels ---------------------------------------------------------------------------------------------------------


def _background(width: int, height: int, tone: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A plain or shaded background, float32 [height, width, 3]."""
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = np.array(tone) + rng.normal(0, 4, 3)
    if rng.random() < 0.5:  # A soft slope of light.
        angle = rng.uniform(0, 2 * math.pi)
        ramp_x = np.linspace(-1, 1, width)[None, :] * math.cos(angle)
        ramp_y = np.linspace(-1, 1, height)[:, None] * math.sin(angle)
        canvas += (rng.uniform(4, 14) * (ramp_x + ramp_y))[..., None]
    return canvas


def places(scene: Scene, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centre and radius of each object, in parts of the central square."""
    large = scene.size == "large"
    if scene.count == "one":
        radius = rng.uniform(0.27, 0.33) if large else rng.uniform(0.16, 0.19)
        offset = 0.15 if large else 0.27
        x = offset * (("right" in scene.position) - ("left" in scene.position))
        y = offset * (("bottom" in scene.position) - ("top" in scene.position))
        return [(0.5 + x + rng.uniform(-0.02, 0.02), 0.5 + y + rng.uniform(-0.02, 0.02), radius)]
    radius = rng.uniform(0.19, 0.215) if large else rng.uniform(0.13, 0.15)
    slots = rng.permutation(4)[: COUNTS.index(scene.count) + 1]
    slack = 0.24 - radius
    return [
        (
            0.26 + 0.48 * (slot % 2) + rng.uniform(-slack, slack),
            0.26 + 0.48 * (slot // 2) + rng.uniform(-slack, slack),
            radius * rng.uniform(0.95, 1.05),
        )
        for slot in (int(s) for s in slots)
    ]


def _paint(canvas: np.ndarray, x: float, y: float, radius: float, scene: Scene, colour: np.ndarray,
           rng: np.random.Generator) -> None:
    """Paints one object into `canvas` (float32 [height, width, 3])."""
    height, width, _ = canvas.shape
    left, top = max(0, math.floor(x - radius - 1)), max(0, math.floor(y - radius - 1))
    right, bottom = min(width, math.ceil(x + radius + 1)), min(height, math.ceil(y + radius + 1))
    tilt = rng.uniform(-0.2, 0.2)

    mask = Image.new("L", ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE), 0)
    pen = ImageDraw.Draw(mask)
    for outline, fill in _outlines(scene.shape):
        turned = outline @ np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
        points = (turned * radius + (x - left, y - top)) * _SUPERSAMPLE
        pen.polygon([tuple(p) for p in points.tolist()], fill=fill)
    coverage = np.asarray(mask.reduce(_SUPERSAMPLE), np.float32)[..., None] / 255

    # The second tone is darker for light colours and lighter for dark ones, so it can be told from both.
    second = colour * 0.5 if colour @ (0.3, 0.59, 0.11) > 115 else colour + (255 - colour) * 0.5
    grid_y, grid_x = np.mgrid[top:bottom, left:right].astype(np.float32)
    share = _texture(scene.texture, (grid_x + 0.5 - x) / radius, (grid_y + 0.5 - y) / radius, radius, rng)[..., None]
    paint = colour * (1 - share) + second * share
    spot = canvas[top:bottom, left:right]
    spot += (paint - spot) * coverage


def _texture(texture: str, u: np.ndarray, v: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """The share (0 to 1) of the second tone at each place; `u` and `v` are in radii from the object's centre."""
    if texture == "plain":
        return np.zeros_like(u)
    angle = rng.uniform(0, math.pi) if texture == "striped" else rng.uniform(-0.3, 0.3)
    period = rng.uniform(0.52, 0.68)
    a = (u * math.cos(angle) + v * math.sin(angle)) * 2 * math.pi / period + rng.uniform(0, 2 * math.pi)
    b = (v * math.cos(angle) - u * math.sin(angle)) * 2 * math.pi / period + rng.uniform(0, 2 * math.pi)
    sharp = period * radius / (2 * math.pi)  # One pixel wide edges.
    if texture == "striped":
        return np.clip(0.5 + sharp * np.sin(a), 0, 1)
    if texture == "dotted":
        return np.clip(0.5 + sharp * (np.cos(a) + np.cos(b) - 0.75), 0, 1)
    return np.clip(0.5 + sharp * np.sin(a / 2) * np.sin(b / 2) * 2, 0, 1)


def _polygon(corners: int, radius: float = 1.0, start: float = -math.pi / 2) -> np.ndarray:
    angles = start + np.arange(corners) * 2 * math.pi / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _outlines(shape: str) -> list[tuple[np.ndarray, int]]:
    """Polygons (x right, y down, within radius 1) and what to fill them with: 255 object, 0 hole."""
    if shape == "circle":
        return [(_polygon(64, 0.94), 255)]
    if shape == "square":
        return [(_polygon(4, start=-math.pi / 4), 255)]
    if shape == "triangle":
        return [(_polygon(3) + (0, 0.1), 255)]
    if shape == "star":
        points = np.empty((10, 2))
        points[0::2] = _polygon(5)
        points[1::2] = _polygon(5, 0.42, start=-math.pi / 2 + math.pi / 5)
        return [(points, 255)]
    if shape == "cross":
        a, b = 0.94, 0.32
        return [(np.array([(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b),
                           (-a, -b), (-b, -b)]), 255)]
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        return [(np.stack([x, y - 2.5], axis=1) / 17, 255)]
    if shape == "ring":
        return [(_polygon(64, 0.96), 255), (_polygon(64, 0.52), 0)]
    if shape == "crescent":
        return [(_polygon(64, 0.96), 255), (_polygon(64, 0.8) + (0.46, 0), 0)]
    raise ValueError(f"unknown shape {shape!r}")
