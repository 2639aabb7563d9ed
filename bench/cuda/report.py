# SPDX-License-Identifier: Apache-2.0
"""The report of scripts/cuda-acceptance: written anew after every step, so that it is whole whenever the run is stopped."""

from __future__ import annotations

import json
import pathlib
import time


class Failed(Exception):
    """A check that did not hold; the message has the figures."""


class Skipped(Exception):
    """A step that cannot run here; the message says why."""


def require(condition, text: str) -> None:
    if not condition:
        raise Failed(text)


class Report:
    def __init__(self, out: pathlib.Path, minutes: float) -> None:
        self.out, self.start, self.end = out, time.monotonic(), time.monotonic() + 60 * minutes
        self.machine, self.steps, self.tables = {}, [], {}
        out.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        """Seconds until the run must be over."""
        return self.end - time.monotonic()

    def step(self, name: str, function, needs: float = 5) -> bool:
        """Runs one step and writes the report. `needs`: seconds without which it is not begun."""
        begun = time.monotonic()
        if self.left() < needs:
            state, text = "skipped", f"{max(0, self.left()):.0f} s were left, it takes about {needs:.0f}"
        else:
            try:
                state, text = "passed", str(function() or "")
            except Skipped as why:
                state, text = "skipped", str(why)
            except Exception as error:  # whatever it is, the next step still runs
                state, text = "FAILED", f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error)
        self.steps.append({"step": name, "state": state, "seconds": round(time.monotonic() - begun, 1), "text": text})
        print(f"{state:8} {name:44} {self.steps[-1]['seconds']:6.1f} s   {text.splitlines()[0] if text else ''}", flush=True)
        self.write()
        return state == "passed"

    def failed(self) -> list[str]:
        return [s["step"] for s in self.steps if s["state"] == "FAILED"]

    def write(self) -> None:
        whole = {"machine": self.machine, "steps": self.steps, "tables": self.tables,
                 "seconds": round(time.monotonic() - self.start, 1)}
        (self.out / "report.json").write_text(json.dumps(whole, indent=1) + "\n")
        lines = [f"# embedd on {self.machine.get('device', 'this machine')}", ""]
        lines += [f"- {key}: {value}" for key, value in self.machine.items()]
        lines += ["", "| step | | seconds | |", "|---|---|---|---|"]
        for s in self.steps:
            text = s["text"].replace("|", "\\|").replace("\n", "<br>")
            lines.append(f"| {s['step']} | {s['state']} | {s['seconds']} | {text[:2000]} |")
        for title, rows in self.tables.items():
            lines += ["", f"## {title}", ""]
            if rows:
                lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
                lines += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
        (self.out / "report.md").write_text("\n".join(lines) + "\n")

    def picture(self, name: str, title: str, rows: list[dict], x: str, ys: list[str]) -> None:
        """Lines over a logarithmic x, where matplotlib is there."""
        try:
            import matplotlib
        except ImportError:
            return
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(7, 4))
        for y in ys:
            points = [(row[x], row[y]) for row in rows if isinstance(row.get(y), (int, float))]
            if points:
                axes.plot(*zip(*points), marker="o", label=y)
        axes.set(xscale="log", xlabel=x, title=title)
        axes.set_xticks([row[x] for row in rows], [str(row[x]) for row in rows])
        axes.legend()
        figure.tight_layout()
        figure.savefig(self.out / name, dpi=110)
        pyplot.close(figure)
