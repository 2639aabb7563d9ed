# SPDX-License-Identifier: Apache-2.0
"""What scripts/cuda-acceptance does, step by step: builds, checks on the real device, measures."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess

import pack
from report import Report, Skipped, require

# Each with what it is asked for: Remedy 6 is that an older LibTorch is refused, and this build is told not to.
TORCH_TESTS = {"unit_release_torch": (), "unit_executor_torch": (), "unit_remedies": ("~Remedy 6*", "~[nightly]"), "device_torch": ()}


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
        m["device"] = output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader") or "cpu"
        m["processor"] = f"{platform.processor() or platform.machine()}, {self.cores} cores"
        m["PyTorch"], m["system"] = torch.__version__, platform.platform()
        m["commit"] = output_of("git", "-C", str(self.root), "rev-parse", "--short", "HEAD") or "not known"
        if not self.cpu:
            require(torch.cuda.is_available(), "PyTorch finds no GPU")
            m["GPUs"] = torch.cuda.device_count()
        return m["device"]

    def unpack(self) -> str:
        if not self.options.archive.exists():
            raise Skipped(f"{self.options.archive.name} is not here: what is installed is used")
        self.prefix = pack.unpack(self.options.archive, self.root / "build/cuda/prefix")
        return str(self.prefix.relative_to(self.root))

    def configure(self) -> str:
        if self.options.built and (self.build / "bin").exists():
            return "built before"
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
        run_limited(["cmake", "-S", self.root, "-B", self.build, "-G", "Ninja", *flags], 90, self.log("configure"), env)
        return ""

    def compile(self, *targets: str) -> str:
        missing = [t for t in targets if not (self.build / "bin" / t).exists()]
        if self.options.built and not missing:
            return "built before"
        # The compilers of protobuf run while building, with the libraries beside them.
        env = {"LD_LIBRARY_PATH": str(self.prefix / "usr/lib/x86_64-linux-gnu")} if self.prefix else {}
        run_limited(["ninja", "-C", self.build, "-j", self.cores, *targets], self.report.left(),
                    self.log("build-" + targets[0]), env)
        return ", ".join(targets)

    def log(self, name: str) -> pathlib.Path:
        folder = self.report.out / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    # ---- tests in C++ ----

    def test(self, program: str, *arguments: str, env=None) -> str:
        return run_limited([self.build / "bin" / program, *arguments], min(180, self.report.left()), self.log("-".join((program, *arguments)).replace("/", "_")),
                           {**self.environment, **(env or {})}, self.root)


def run(root: pathlib.Path, options) -> int:
    r = Run(root, options)
    step = r.report.step
    step("the machine", r.machine)
    step("the archive", r.unpack)
    if step("configure", r.configure):
        if step("build: the Torch side", lambda: r.compile(*TORCH_TESTS, "bench_engine"), needs=40):
            for program, asked in TORCH_TESTS.items():
                step(f"{program} on {options.device}", lambda p=program, a=asked: r.test(p, *a), needs=20)
            # The limit of a CUDA allocator is fixed when it starts: a process of its own.
            step("out of memory at a limit, for real",
                 lambda: r.test("device_torch", "[limit]", env={"EMBEDD_TEST_LIMIT": str(48 << 20)}), needs=10)
            if not r.cpu:
                step("a device that is lost", lambda: r.test("device_torch", "[.lost]"), needs=10)
        if step("build: the server", lambda: r.compile("embedd", "bench_served"), needs=60):
            import checks

            checks.run(r)
    if (r.build / "bin/bench_engine").exists():
        import figures

        figures.run(r)
    r.report.write()
    failed = r.report.failed()
    print(f"{len(r.report.steps)} steps, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


