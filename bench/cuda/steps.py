# SPDX-License-Identifier: Apache-2.0
"""What scripts/cuda-acceptance does, step by step: builds, checks on the real device, measures."""

from __future__ import annotations

import os
import pathlib
import platform
import re
import subprocess
import sys
import threading

import pack
from report import Report, Skipped, require

# Tests that compute on the cpu, beside a card that is there, with what they are asked for: Remedy 6 is that an older LibTorch is
# refused, and this build is told not to.
ON_THE_CPU = {"unit_executor_torch": (), "unit_release_torch": (), "unit_remedies": ("~Remedy 6*", "~[nightly]")}


def output_of(*command, seconds=20) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def run_limited(command, seconds: float, log: pathlib.Path, env=None, cwd=None) -> str:
    """Runs it with its output in `log`; the last lines. Raises with them when it fails or takes too long."""
    with log.open("w") as out:
        try:
            code = subprocess.run([str(c) for c in command], stdout=out, stderr=subprocess.STDOUT, timeout=seconds,
                                  env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {seconds:.0f} s"
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "error:" in line or "Error" in line][:5]
    require(code == 0, f"{pathlib.Path(str(command[0])).name}: {code}\n" + "\n".join(errors + lines[-15:]))
    told = [line for line in lines if line.strip("= \t")]
    return told[-1] if told else ""


class Run:
    def __init__(self, root: pathlib.Path, options) -> None:
        self.root, self.options = root, options
        self.cpu = options.device == "cpu"
        self.report = Report(options.out.resolve(), options.minutes)
        sys.path[:0] = [str(root / "bench/soak"), str(root / "client/python/src")]
        self.build = root / "build/cuda/tree"
        self.build.mkdir(parents=True, exist_ok=True)
        self.cores = len(os.sched_getaffinity(0))
        # Where the archive was unpacked; empty where everything is installed.
        self.prefix = None

    @property
    def environment(self) -> dict:
        import torch

        libraries = [str(pathlib.Path(torch.__file__).parent / "lib")]
        if self.prefix:
            libraries += [str(self.prefix / "usr/lib/x86_64-linux-gnu"), str(self.prefix / "usr/lib")]
        return {"LD_LIBRARY_PATH": ":".join(libraries), "EMBEDD_TEST_DEVICE": self.options.device}

    # ---- building ----

    def machine(self) -> str:
        import torch

        m = self.report.machine
        m["device"] = "cpu"
        m["processor"] = f"{platform.processor() or platform.machine()}, {self.cores} cores"
        m["PyTorch"], m["system"] = torch.__version__, platform.platform()
        m["Python"] = platform.python_version()
        m["commit"] = output_of("git", "-C", str(self.root), "rev-parse", "--short", "HEAD") or "not known"
        if not self.cpu:
            require(torch.cuda.is_available(), "PyTorch finds no GPU")
            card = torch.cuda.get_device_properties(0)  # of a slice of a card, the slice
            m["device"] = f"{card.name}, {card.total_memory >> 20} MiB"
            m["driver"] = output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
            m["GPUs"] = torch.cuda.device_count()
        return m["device"]

    def unpack(self) -> str:
        if not self.options.archive.exists():
            raise Skipped(f"{self.options.archive.name} is not here: what is installed is used")
        self.prefix = pack.unpack(self.options.archive, self.root / "build/cuda/prefix")
        return str(self.prefix.relative_to(self.root))

    @property
    def libtorch(self) -> str:
        """What programs are built for: another minor version takes none of them."""
        import torch

        return ".".join(torch.__version__.split(".")[:2])

    def lie_there(self, targets) -> bool:
        """With --built: programs of an earlier run, or of the rehearsal, for this LibTorch."""
        programs, mark = self.build / "bin", self.build / "bin/libtorch"
        return (self.options.built and mark.exists() and mark.read_text() == self.libtorch
                and all((programs / t).exists() for t in targets))

    def configure(self) -> str:
        if self.lie_there(()):
            return "when something is to be built"
        self.make_build()
        return ""

    def make_build(self) -> None:
        import torch

        flags = ["-DCMAKE_BUILD_TYPE=Release", "-DEMBEDD_OLDER_LIBTORCH=ON", "-DEMBEDD_WERROR=OFF",
                 f"-DLIBTORCH_DIR={pathlib.Path(torch.__file__).parent}"]
        env = {}
        if self.prefix:
            libraries = self.prefix / "usr/lib/x86_64-linux-gnu"
            # A prefix of Debian's packages looks like a system root; a bare compiler has to be shown both.
            flags += [f"-DCMAKE_PREFIX_PATH={self.prefix}/usr;{libraries}/cmake", f"-DCMAKE_LIBRARY_PATH={libraries}",
                      f"-DCMAKE_INCLUDE_PATH={self.prefix}/usr/include;{self.prefix}/usr/include/x86_64-linux-gnu",
                      "-DCMAKE_LIBRARY_ARCHITECTURE=x86_64-linux-gnu",
                      f"-DCMAKE_CXX_FLAGS=-isystem {self.prefix}/usr/include/x86_64-linux-gnu",
                      f"-DCMAKE_EXE_LINKER_FLAGS=-L{libraries} -Wl,-rpath-link,{libraries}",
                      f"-DCMAKE_BUILD_RPATH={libraries}", f"-DOPENSSL_ROOT_DIR={self.prefix}/usr",
                      f"-DProtobuf_PROTOC_EXECUTABLE={self.prefix}/usr/bin/protoc"]
            env = {"PKG_CONFIG_PATH": f"{libraries}/pkgconfig:{self.prefix}/usr/share/pkgconfig:{self.prefix}/usr/lib/pkgconfig",
                   "PKG_CONFIG": str(self.prefix / "usr/bin/pkgconf"), "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
                   "PATH": f"{self.prefix}/usr/bin:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(libraries)}
        self.run_logged(["cmake", "-S", self.root, "-B", self.build, "-G", "Ninja", *flags], 90, "configure", env)

    def compile(self, *targets: str) -> str:
        if self.lie_there(targets):
            return "built before"
        if not (self.build / "build.ninja").exists():
            self.make_build()
        # The compilers of protobuf run while building, with the libraries beside them.
        env = {"LD_LIBRARY_PATH": str(self.prefix / "usr/lib/x86_64-linux-gnu")} if self.prefix else {}
        self.run_logged(["ninja", "-C", self.build, "-j", self.cores, *targets], self.report.left(), "build-" + targets[0], env)
        (self.build / "bin/libtorch").write_text(self.libtorch)
        return ", ".join(targets)

    def log(self, name: str) -> pathlib.Path:
        folder = self.root / "build/cuda/logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / (re.sub(r"[^A-Za-z0-9._-]+", "_", name) + ".log")

    def run_logged(self, command, seconds: float, name: str, env=None, cwd=None) -> str:
        log = self.log(name)
        try:
            return run_limited(command, seconds, log, env, cwd)
        finally:
            self.report.keep_log(name, log.read_text(errors="replace"))

    # ---- tests in C++ ----

    def test(self, program: str, *arguments: str, env=None) -> str:
        return self.run_logged([self.build / "bin" / program, *arguments], min(180, self.report.left()),
                               "-".join((program, *arguments)), {**self.environment, **(env or {})}, self.root)


def make_models(run: Run) -> None:
    import models

    for shape in (models.TINY,) if run.cpu else (models.B32, models.L14):
        models.make(shape, run.root / "build/cuda/models")


def run(root: pathlib.Path, options) -> int:
    """In the order of worth: a run that is cut off after four minutes has told what no run told before."""
    r = Run(root, options)
    step = r.report.step
    step("the machine", r.machine)
    step("the archive", r.unpack)
    if step("configure", r.configure):
        making = threading.Thread(target=make_models, args=(r,), daemon=True)  # while the compiler runs
        making.start()
        served = step("build: the server and the loop", lambda: r.compile("embedd", "bench_engine", "bench_served"), needs=40)
        making.join(60)
        loop = served or step("build: the loop alone", lambda: r.compile("bench_engine"), needs=40)
        import checks
        import figures

        measured = figures.Figures(r)
        first, *others = figures.shapes(r)
        if loop:
            figures.goals(r, measured, first)
        checked = checks.mended(r) if served else None
        for shape in others if loop else ():
            figures.goals(r, measured, shape)
        if step("build: device_torch", lambda: r.compile("device_torch"), needs=20):
            step("device_torch", lambda: r.test("device_torch"), needs=15)
            # The limit of a CUDA allocator is fixed when it starts: a process of its own.
            limit = {"EMBEDD_TEST_LIMIT": str(48 << 20)}
            step("out of memory at a limit, for real", lambda: r.test("device_torch", "[limit]", env=limit), needs=10)
            if not r.cpu:
                step("a device that is lost", lambda: r.test("device_torch", "[.lost]"), needs=10)
        if checked:
            checks.held(r, checked)
        if loop:
            figures.rest(r, measured)
        if step("build: the other tests", lambda: r.compile(*ON_THE_CPU), needs=60):
            for program, asked in ON_THE_CPU.items():
                step(program, lambda p=program, a=asked: r.test(p, *a), needs=100 if program == "unit_remedies" else 20)
    failed = r.report.failed()
    missed = [g["goal"] for g in r.report.goals if g[""] == "MISSED"]
    print(f"{len(r.report.steps)} steps, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    print(f"{len(r.report.goals)} goals, {len(missed)} missed{': ' if missed else ''}{'; '.join(missed)}")
    return 1 if failed else 0
