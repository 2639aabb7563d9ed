# SPDX-License-Identifier: Apache-2.0
"""What the figures were measured on, and whether it is fit to measure: clocks that disagree, features, other load."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import time

from .common import BIN

_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "asimd")


def _now(processor: int) -> float:
    os.sched_setaffinity(0, {processor})
    return time.monotonic()


def agreeing_processors() -> list[int]:
    """The largest set of processors between which time never runs backwards; all where that cannot be asked."""
    if not hasattr(os, "sched_setaffinity"):
        return list(range(os.cpu_count() or 1))
    before = os.sched_getaffinity(0)
    processors, best = sorted(before), []
    try:
        for one in processors:
            group = []
            for other in processors:
                times = [_now(other if turn % 2 else one) for turn in range(200)]
                if times == sorted(times):
                    group.append(other)
            best = max(best, group, key=len)
    finally:
        os.sched_setaffinity(0, before)
    return best


def _cpu() -> tuple[str, list[str]]:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    fields = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return fields.get("model name", platform.machine()), [name for name in _FEATURES if name in flags]


def multiplies_bytes() -> bool:
    """Whether the processor has what --dtype int8 needs."""
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(_cpu()[1])


def _busy_elsewhere(seconds: float = 1.0) -> float:
    """Share of the processors that others use while we sleep."""
    def read() -> tuple[int, int]:
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(fields[:8]), fields[3] + fields[4]
    try:
        total, idle = read()
        time.sleep(seconds)
        later, later_idle = read()
    except OSError:
        return 0.0
    return 1 - (later_idle - idle) / max(1, later - total)


def describe() -> dict:
    model, features = _cpu()
    agree, processors = agreeing_processors(), os.cpu_count() or 1
    version = subprocess.run([BIN / "embedd", "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    return {
        "cpu": model, "processors": processors, "features": features, "system": f"{platform.system()} {platform.release()}",
        "clocks_agree": len(agree) == processors, "used_processors": agree, "busy_elsewhere": round(_busy_elsewhere(), 2),
        "embedd": version, "torch": importlib.metadata.version("torch"),
        "open_clip": importlib.metadata.version("open_clip_torch"), "date": time.strftime("%Y-%m-%d"),
    }


def text(machine: dict) -> str:
    clocks = "agree" if machine["clocks_agree"] else f"disagree: only processors {machine['used_processors']} are used"
    return (f"{machine['cpu']}, {machine['processors']} processors ({' '.join(machine['features'])}), {machine['system']}; "
            f"clocks {clocks}; {100 * machine['busy_elsewhere']:.0f} % busy with other programs at the start")
