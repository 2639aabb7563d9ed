# SPDX-License-Identifier: Apache-2.0
"""The server and its peers under the same load: same models, same pictures, 1, 4 and 16 callers with 16 images a call,
then 64 callers with a deadline. See bench/peers/README.md for what each peer is and how it is set up.

Every contender of a round gets the same closed loop, one connection a caller, from the same load generator, which sends
bodies made beforehand; CPU time and memory are those of the server's processes alone. A contender starts, is measured with
every kind of image, and stops; then the next; then the next round. One that fails is in the results with the reason.
"""

from __future__ import annotations

import json
import statistics
import threading
import time

import numpy as np

from . import inputs
from .common import ROOT, Figure, Settings, Worker
from .contenders import ENV, IN_PROCESS, NAMES, TAKES, Bound, adopt_orphans, cpu, loop_command, memory, python, start

_IMAGES = 16
_DEADLINE = 2.0
_FLOOD = 64  # callers
_CPU = "cpu_seconds_per_1000_images"


def _images(kind: str) -> int:
    return 2 if kind == "12mp" else _IMAGES


def _check(vectors: np.ndarray, images: int) -> None:
    """An answer holds one unit vector an image: an error that looks like an answer is not counted as one."""
    lengths = np.linalg.norm(vectors.reshape(images, -1), axis=1)
    if vectors.size < images or np.abs(lengths - 1).max() > 1e-3:
        raise RuntimeError(f"not {images} unit vectors: {vectors.size} numbers, lengths {lengths}")


def _measure(server, kind: str, callers: int, seconds: float) -> dict:
    """A closed loop: what it did, in the words of bench/peers/loop.py. Calls begun in time are waited for."""
    images = inputs.call(kind, _images(kind))
    latencies, errors = [], []
    made = [server.caller() for _ in range(callers)]
    body = made[0].prepare(images)
    _check(made[0].vectors(made[0].send(body)), len(images))  # a warm-up too
    begin, cpu_before = time.monotonic(), cpu()

    def loop(send) -> None:
        while True:
            began = time.monotonic()
            try:
                send(body)
                latencies.append(time.monotonic() - began)
            except Exception as error:
                errors.append(error)
            if time.monotonic() - begin >= seconds:
                return

    threads = [threading.Thread(target=loop, args=(caller.send,), daemon=True) for caller in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not latencies:
        raise RuntimeError(f"{kind}, {callers} callers: {errors[0]}")
    return {"images": len(latencies) * len(images), "seconds": time.monotonic() - begin, "cpu": cpu() - cpu_before,
            "latencies": latencies, "errors": len(errors), "memory": memory()}


def _goodput(server, seconds: float) -> float:
    """Images a second answered within the deadline, while far too much is asked. A caller that gets no answer in time, or
    is refused, calls again when the deadline of that call is over; one that gets its answer calls again at once."""
    body = server.caller().prepare(inputs.call("jpeg", _IMAGES))
    answered: list[tuple[float, float]] = []
    begin = time.monotonic() + _DEADLINE  # of what counts: by then every caller has called
    end = begin + seconds

    def loop(number: int) -> None:
        send = server.caller(_DEADLINE).send
        time.sleep(_DEADLINE * number / _FLOOD)
        while (began := time.monotonic()) < end:
            try:
                send(body)
                if (now := time.monotonic()) <= began + _DEADLINE:
                    answered.append((began, now))
            except Exception:
                time.sleep(max(0.0, began + _DEADLINE - time.monotonic()))

    threads = [threading.Thread(target=loop, args=(number,), daemon=True) for number in range(_FLOOD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A call that is partly outside of the time that counts, counts in part: calls take long against it.
    inside = sum(max(0.0, min(last, end) - max(first, begin)) / max(last - first, 1e-9) for first, last in answered)
    return inside * _IMAGES / seconds


def _summary(run: dict) -> dict:
    ordered = sorted(run["latencies"])
    at = lambda share: round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)  # noqa: E731
    return {"images_per_second": round(run["images"] / run["seconds"], 2), "p50_ms": at(0.5), "p99_ms": at(0.99),
            _CPU: round(1e3 * run["cpu"] / run["images"], 2), "calls": len(ordered), "errors": run["errors"],
            "memory_mib": run["memory"] >> 20}


def _contest(name: str, model: str, cells: list[tuple[str, int, float]]) -> dict[str, dict]:
    """One contender through all cells (kind of image, callers, seconds) of a model."""
    done = {}
    if name in IN_PROCESS:
        with Worker(*loop_command(name, inputs.model(model)), env=ENV) as worker:
            for kind, callers, seconds in cells:
                if callers == 1 or (kind, 1) not in [cell[:2] for cell in cells]:
                    worker.ask(f"{kind} {_images(kind)} 0")  # warm-up: one call
                    run = worker.ask(f"{kind} {_images(kind)} {seconds}")
                    done[f"{kind} x1"] = _summary({**run, "memory": memory()})
        return done
    server = start(name, inputs.model(model))
    try:
        for kind, callers, seconds in cells:
            done[f"{kind} x{callers}"] = _summary(_measure(server, kind, callers, seconds))
    finally:
        server.stop()
    return done


def _flood(name: str, most: float, seconds: float) -> dict:
    """The overload contest. A peer that can bound its queue gets the bound that its own best rate calls for: as many calls
    as it can answer within the deadline."""
    bound = Bound(max(1, int(_DEADLINE * most / _IMAGES)), round(max(0.1, _DEADLINE - _IMAGES / most), 2))
    server = start(name, inputs.model("vit-b-32"), bound)
    try:
        rate = _goodput(server, seconds)
    finally:
        server.stop()
    return {"images_per_second": round(rate, 2), "share": round(rate / most, 3)}


def _plan(settings: Settings, first: bool) -> dict[str, list[tuple[str, int, float]]]:
    """Cells of each model. On two processors ViT-B/32 takes more than a second for a call and 20 s for one of each of 16
    callers: few calls are many images, and that cell is in the first round only."""
    if settings.short:
        return {"vit-b-32": [("jpeg", 4, 0.5)],
                "tiny": [("jpeg", 4, 0.7), ("jpeg", 16, 0.7), ("12mp", 1, 0.7), ("raw", 4, 0.7)]}
    unit = settings.seconds / 6
    tiny = [(kind, callers, 1.2 * unit) for kind in inputs.KINDS for callers in (1, 4, 16) if (kind, callers) != ("12mp", 16)]
    return {"vit-b-32": [("jpeg", 1, 2 * unit), ("jpeg", 4, 3 * unit)] + first * [("jpeg", 16, 0)], "tiny": tiny}


def _line(reason: str) -> str:
    return " ".join(reason.split())[:300]


def _round(settings: Settings, first: bool, failed: dict[str, str]) -> dict[str, dict]:
    """{contender: {"vit-b-32": cells, "tiny": cells, "overload": {...}}}; what fails goes to `failed`."""
    done: dict[str, dict] = {}
    for name in NAMES:
        if not python(name).exists():
            failed[name] = f"not installed: bench/peers/setup {name}"
            continue
        begin, own = time.monotonic(), done.setdefault(name, {})
        for model, cells in _plan(settings, first).items():
            own_cells = [cell for cell in cells if cell[0] in TAKES.get(name, inputs.KINDS)]
            try:
                own[model] = _contest(name, model, own_cells)
            except Exception as error:  # whatever a peer does, the others are measured
                failed[name] = _line(f"{model}: {error}")
        if name not in IN_PROCESS and "vit-b-32" in own:
            most = max(cell["images_per_second"] for cell in own["vit-b-32"].values())
            try:
                own["overload"] = _flood(name, most, 4.0 if settings.short else 1.5 * settings.seconds)
            except Exception as error:
                failed[name] = _line(f"overload: {error}")
        print(f"  {name}: {failed.get(name, 'done')} ({time.monotonic() - begin:.0f} s)", flush=True)
    return done


# ---- figures: "goal" ones that bench/suites/goals.py names, and "COLUMN/CONTENDER" for the table of peers ----

def _column(rounds: list[dict], model: str, kinds: str, field: str, pick) -> dict[str, list[float]]:
    """For each contender, in every round, the `pick` of a field over the cells whose name starts with `kinds`."""
    found: dict[str, list[float]] = {}
    for done in rounds:
        for name, own in done.items():
            values = [cell[field] for key, cell in own.get(model, {}).items() if key.startswith(kinds)]
            if values:
                found.setdefault(name, []).append(pick(values))
    return found


def _against_best(values: dict[str, list[float]], high: bool, unit: str) -> Figure | None:
    """embedd against the best peer, round by round."""
    others = {name: statistics.median(own) for name, own in values.items() if name != "embedd"}
    if not others or "embedd" not in values:
        return None
    peer = (max if high else min)(others, key=others.get)
    pair = (values["embedd"], values[peer]) if high else (values[peer], values["embedd"])
    return Figure.ratio(*pair, f"{unit}: embedd {statistics.median(values['embedd']):.3g}, best peer {peer} {others[peer]:.3g}")


def figures(rounds: list[dict], failed: dict[str, str]) -> dict[str, Figure]:
    columns = {"vit_rate": _column(rounds, "vit-b-32", "jpeg ", "images_per_second", max),
               "vit_memory": _column(rounds, "vit-b-32", "jpeg ", "memory_mib", max),
               "vit_cpu": _column(rounds, "vit-b-32", "jpeg ", _CPU, min),
               "tiny_p50": _column(rounds, "tiny", "jpeg x16", "p50_ms", max),
               "tiny_p99": _column(rounds, "tiny", "jpeg x16", "p99_ms", max)}
    for kind in inputs.KINDS:
        columns[f"tiny_{kind}_cpu"] = _column(rounds, "tiny", f"{kind} ", _CPU, min)
    columns["overload"] = {}
    for done in rounds:
        for name, own in done.items():
            if "overload" in own:
                columns["overload"].setdefault(name, []).append(own["overload"]["share"])
    made = {"vit_jpeg": _against_best(columns["vit_rate"], True, "images/s"),
            **{f"tiny_{kind}": _against_best(columns[f"tiny_{kind}_cpu"], False, "CPU s per 1,000 images") for kind in inputs.KINDS},
            "overload": Figure.of(columns["overload"]["embedd"], "", "; ".join(
                f"{name} {statistics.median(own):.2f}" for name, own in columns["overload"].items()))
            if "embedd" in columns["overload"] else None}
    made = {key: figure for key, figure in made.items() if figure}
    made |= {f"{column}/{name}": Figure.of(own) for column, values in columns.items() for name, own in values.items()}
    return made | {f"failed/{name}": Figure(0, 0, 0, "", reason) for name, reason in failed.items()}


def run(settings: Settings) -> dict[str, Figure]:
    adopt_orphans()
    rounds: list[dict] = []
    failed: dict[str, str] = {}
    for number in range(1 if settings.short else max(2, settings.rounds - 3)):
        rounds.append(_round(settings, number == 0, failed))
    (ROOT / "bench/results").mkdir(exist_ok=True)
    (ROOT / "bench/results/peers.json").write_text(json.dumps({"rounds": rounds, "failed": failed}, indent=1) + "\n")
    return figures(rounds, failed)
