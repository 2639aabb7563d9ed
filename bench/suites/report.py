# SPDX-License-Identifier: Apache-2.0
"""Results as JSON, as text, and as the generated part of docs/performance.md."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from . import machine, picture
from .common import ROOT, Figure
from .contenders import NAMES
from .goals import GOALS

_BEGIN, _END = "<!-- made by bench/run --docs -->", "<!-- end -->"
DOCS = ROOT / "docs/performance.md"
PICTURE = ROOT / "docs/peers.png"


def save(path: pathlib.Path, machines: dict[str, dict], results: dict[str, dict[str, Figure]]) -> None:
    """`machines`: by suite, where and when it ran (machine.describe), and whether in short rounds."""
    plain = {suite: {name: dataclasses.asdict(figure) for name, figure in figures.items()}
             for suite, figures in results.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machines": machines, "results": plain}, indent=1) + "\n")


def read(path: pathlib.Path) -> tuple[dict[str, dict], dict[str, dict[str, Figure]]]:
    saved = json.loads(path.read_text())
    return saved["machines"], {suite: {name: Figure(**figure) for name, figure in figures.items()}
                               for suite, figures in saved["results"].items()}


def number(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def show(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    spread = "" if figure.low == figure.high else f" ({number(figure.low)} to {number(figure.high)})"
    return f"{number(figure.median)}{unit}{spread}"


def _caution(about: dict) -> str:
    """Says so where the run was not one to rely on."""
    doubts = []
    if about["short"]:
        doubts.append("short rounds")
    if about["busy_elsewhere"] > 0.2:
        doubts.append("other programs ran beside it")
    return f" **Provisional** ({'; '.join(doubts)}): counts and CPU times hold, rates and times of calls scatter." if doubts else ""


def _measured(machines: dict[str, dict]) -> list[str]:
    """A line for each machine and day, with the suites that ran there."""
    where: dict[str, list[str]] = {}
    for suite, about in machines.items():
        where.setdefault(f"{about['date']}, {machine.text(about)}; LibTorch {about['torch']}.{_caution(about)}", []).append(suite)
    return [f"- {', '.join(suites)}: {place}" for place, suites in where.items()]


def table(machines: dict[str, dict], results: dict[str, dict[str, Figure]]) -> str:
    lines = ["Measured (the suites of `bench/run`):", "", *_measured(machines), "",
             "| what | goal | measured, median (lowest to highest) | |", "|---|---|---|---|"]
    notes = []
    for goal in GOALS:
        verdict = goal.verdict(results)
        figures = [figure for _, figure in goal.rows(results)]
        measured = "; ".join(show(figure) if figure else "not measured" for figure in figures)
        lines.append(f"| {goal.what} | {goal.text} | {measured} | {verdict} |")
        details = "; ".join(dict.fromkeys(figure.note for figure in figures if figure and figure.note))
        cause = "" if verdict == "reached" else goal.cause
        if details or cause:
            notes.append(f"- {goal.what}: " + ". ".join(part for part in (details, cause) if part) + ".")
    return "\n".join([*lines, "", *notes])


_COLUMNS = [("vit_rate", "ViT-B/32, JPEG: images/s"), ("vit_cpu", "its CPU s / 1,000"), ("vit_memory", "its memory, MiB"),
            ("overload", "goodput / own maximum"), ("tiny_jpeg_cpu", "host-bound: CPU s / 1,000, JPEG"), ("tiny_12mp_cpu", "12 MP"),
            ("tiny_raw_cpu", "raw"), ("tiny_p50", "p50, ms"), ("tiny_p99", "p99, ms")]


def peers(found: dict[str, Figure]) -> str:
    """The contenders one by one. A dash: the product does not take that input, or nothing is to be measured."""
    lines = ["### The server and its peers", "", "[What each peer is, its version and its settings](../bench/peers/README.md). ViT-B/32: "
             "each one's best of 1, 4 and 16 callers with 16 JPEG files of 500×375 a call. Goodput: 64 such callers with a deadline of 2 s, "
             "images answered in time against that contender's own best rate. Host-bound: a tiny model, so that decoding and transport are "
             "what costs; CPU seconds of the server's processes per 1,000 images; p50 and p99 of calls of 16 JPEG from 16 callers. Medians "
             "of the rounds; memory is that of all processes at its highest, under load.", "",
             "| | " + " | ".join(title for _, title in _COLUMNS) + " |", "|---|" + "---|" * len(_COLUMNS)]
    for name in NAMES:
        cells = [found.get(f"{column}/{name}") for column, _ in _COLUMNS]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(number(cell.median) if cell else "–" for cell in cells) + " |")
    lines += ["", f"![The same as bars]({PICTURE.name})"]
    failed = {key.partition("/")[2]: figure.note for key, figure in found.items() if key.startswith("failed/")}
    return "\n".join(lines + [""] * bool(failed) + [f"- {name} failed: {reason}" for name, reason in failed.items()])


def write_docs(machines: dict[str, dict], results: dict[str, dict[str, Figure]]) -> None:
    before, _, rest = DOCS.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    parts = [table(machines, results)]
    if "peers" in results:
        picture.draw(results["peers"], NAMES, PICTURE)
        parts.append(peers(results["peers"]))
    made = "\n\n".join(parts)
    DOCS.write_text(f"{before}{_BEGIN}\n{made}\n{_END}{after}")
