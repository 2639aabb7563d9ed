# SPDX-License-Identifier: Apache-2.0
"""What a process costs the machine: bytes (phys_footprint on macOS, PSS or RSS on Linux) and processor seconds."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys


class _RusageInfoV2(ctypes.Structure):
    _fields_ = [("uuid", ctypes.c_uint8 * 16)] + [
        (name, ctypes.c_uint64)
        for name in ("user_time", "system_time", "pkg_idle_wkups", "interrupt_wkups", "pageins", "wired_size",
                     "resident_size", "phys_footprint", "proc_start_abstime", "proc_exit_abstime", "child_user_time",
                     "child_system_time", "child_pkg_idle_wkups", "child_interrupt_wkups", "child_pageins",
                     "child_elapsed_abstime", "diskio_bytesread", "diskio_byteswritten")
    ]


def of(pid: int | None = None) -> int:
    """Footprint of a process of this user; 0 when it is gone."""
    pid = os.getpid() if pid is None else pid
    if sys.platform == "darwin":
        info = _RusageInfoV2()
        library = ctypes.CDLL("/usr/lib/libproc.dylib")
        return info.phys_footprint if library.proc_pid_rusage(pid, 2, ctypes.byref(info)) == 0 else 0
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ProcessLookupError):
        pass
    return 0


def own(pid: int | None = None) -> int:
    """The part of the footprint that no other process shares. On Linux the footprint has a share of LibTorch's files in
    it, which moves when other processes that use them start and end; macOS counts no file pages."""
    if sys.platform == "darwin":
        return of(pid)
    try:
        with open(f"/proc/{os.getpid() if pid is None else pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))
    except (OSError, ProcessLookupError, StopIteration):
        return 0


def cpu_seconds(pid: int | None = None) -> float:
    """Processor time that a process has had, user and system; 0 when it is gone."""
    if pid is None:
        times = os.times()
        return times.user + times.system
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:  # macOS, or gone
        text = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True).stdout
        seconds = 0.0
        for part in re.findall(r"[\d.]+", text):
            seconds = 60 * seconds + float(part)
        return seconds
