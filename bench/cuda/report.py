# SPDX-License-Identifier: Apache-2.0
"""The report of scripts/cuda-acceptance: written anew before and after every step, so that it is whole whenever the run is
stopped."""

from __future__ import annotations

import json
import os
import pathlib
import threading
import time

# Of the output of one program that is kept.
_MOST_LOG = 200_000


class Failed(Exception):
    """A check that did not hold; the message has the figures."""


class Skipped(Exception):
    """A step that cannot run here; the message says why."""


def require(condition, text: str) -> None:
    if not condition:
        raise Failed(text)


def _table(title: str, rows: list[dict]) -> list[str]:
    """Rows may lack what others have."""
    if not rows:
        return []
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return ["", f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns),
            *("| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows)]


def _replace(path: pathlib.Path, text: str) -> None:
    """Whole or not at all, also when the run is killed meanwhile."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


class Report:
    def __init__(self, out: pathlib.Path, minutes: float) -> None:
        self.out, self.start, self.end = out, time.monotonic(), time.monotonic() + 60 * minutes
        self.machine, self.goals, self.steps, self.tables = {}, [], [], {}
        self._writing = threading.Lock()
        out.mkdir(parents=True, exist_ok=True)
        (out / "logs.txt").unlink(missing_ok=True)

    def left(self) -> float:
        """Seconds until the run must be over."""
        return self.end - time.monotonic()

    def step(self, name: str, function, needs: float = 5) -> bool:
        """Runs one step and writes the report. `needs`: seconds without which it is not begun."""
        begun = time.monotonic()
        row = {"step": name, "state": "running", "seconds": 0.0, "text": ""}
        self.steps.append(row)
        self.write()
        try:
            if self.left() < needs:
                raise Skipped(f"{max(0, self.left()):.0f} s were left, it takes about {needs:.0f}")
            row["state"], row["text"] = "passed", str(function() or "")
        except Skipped as why:
            row["state"], row["text"] = "skipped", str(why)
        except Exception as error:  # whatever it is, the next step still runs
            told = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            row["state"], row["text"] = "FAILED", told
        except BaseException:  # asked to end
            row["state"], row["text"] = "stopped", "the run was ended here"
            raise
        finally:
            row["seconds"] = round(time.monotonic() - begun, 1)
            self.write()
        print(f"{row['state']:8} {name:44} {row['seconds']:6.1f} s   {row['text'].splitlines()[0] if row['text'] else ''}",
              flush=True)
        return row["state"] == "passed"

    def goal(self, what: str, wanted: str, found: str, reached: bool) -> None:
        """A goal of docs/performance.md, and whether it was reached; the first thing the report says."""
        self.goals.append({"goal": what, "wanted": wanted, "found": found, "": "reached" if reached else "MISSED"})
        self.write()

    def keep_log(self, name: str, text: str) -> None:
        """All in one file: a borrowed machine gives few files back."""
        with (self.out / "logs.txt").open("a") as out:
            out.write(f"\n==== {name}\n{text[-_MOST_LOG:]}\n")

    def failed(self) -> list[str]:
        return [s["step"] for s in self.steps if s["state"] == "FAILED"]

    def write(self) -> None:
        whole = {"machine": self.machine, "goals": self.goals, "steps": self.steps, "tables": self.tables,
                 "seconds": round(time.monotonic() - self.start, 1)}
        lines = [f"# embedd on {self.machine.get('device', 'this machine')}", ""]
        lines += [f"- {key}: {value}" for key, value in self.machine.items()]
        lines += [f"- seconds so far: {whole['seconds']}", ""]
        lines += _table("Goals", self.goals)
        lines += ["", "| step | | seconds | |", "|---|---|---|---|"]
        for s in self.steps:
            text = s["text"].replace("|", "\\|").replace("\n", "<br>")
            lines.append(f"| {s['step']} | {s['state']} | {s['seconds']} | {text[:2000]} |")
        for title, rows in self.tables.items():
            lines += _table(title, rows)
        with self._writing:
            _replace(self.out / "report.json", json.dumps(whole, indent=1) + "\n")
            _replace(self.out / "report.md", "\n".join(lines) + "\n")

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
