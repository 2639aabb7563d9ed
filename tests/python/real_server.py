# SPDX-License-Identifier: Apache-2.0
"""Starts the real embedd with the demo model, for test_real_server.py and tests/reliability. Nothing is left running."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import signal
import subprocess
import threading
from typing import Dict, List, Optional, Union

from embedd import EmbedClient

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "demo"
BUILD = pathlib.Path(os.environ.get("EMBEDD_BUILD_DIR", ROOT / "build" / "dev"))
BINARY = BUILD / "bin" / "embedd"

# Loading LibTorch and the model takes a second, and much longer on a busy machine.
START_SECONDS = 180
_LISTENING = re.compile(r"listening on ((?:unix:)?[^\s\"]+)")
_PAGES = re.compile(r"status page at http://([^\s/]+)/")


def missing() -> str:
    """What the real server lacks to be started; "" when nothing."""
    if not os.access(BINARY, os.X_OK):
        return f"{BINARY} is not built (scripts/build dev, or set EMBEDD_BUILD_DIR)"
    if not (MODEL / "open_clip_model.safetensors").exists():
        return f"{MODEL} holds no model"
    return ""


class RealServer:
    """One embedd process, ready to serve.

    Args:
      flags: more flags of the server.
      listen: its address; port 0 takes a free one.
      token: what a client needs to see that the server is ready.
      pages: also serve the HTTP pages, on a free port or on this HOST:PORT; `http` is then their address.
      model: the folder of the model.
      program, environment: another program with the same flags, and variables for it.
      wait: return when the model serves; else as soon as the address is known.
    """

    def __init__(
        self,
        *flags: str,
        listen: str = "127.0.0.1:0",
        token: str = "",
        pages: Union[bool, str] = False,
        model: pathlib.Path = MODEL,
        wait: bool = True,
        program: pathlib.Path = BINARY,
        environment: Optional[Dict[str, str]] = None,
    ) -> None:
        self.log: List[str] = []
        self._told = threading.Event()
        self.target = ""
        self.http = pages if isinstance(pages, str) else ""
        self._process = subprocess.Popen(
            [
                str(program),
                "--model",
                str(model),
                "--device",
                "cpu",
                "--listen",
                listen,
                "--http",
                pages if isinstance(pages, str) else "127.0.0.1:0" if pages else "off",
                "--log-format",
                "text",
                *flags,
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._told.wait(START_SECONDS) or not self.target:
            self.kill()
            raise RuntimeError("embedd did not start:\n" + "".join(self.log[-20:]))
        if wait:
            with EmbedClient(self.target, token=token or None) as client:
                client.wait_ready(START_SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    def metric(self, series: str, absent: Optional[float] = None) -> float:
        """The value of one series, or `absent` when it is not there (yet). Only the labels that are named are looked at;
        several series that match, such as those of several devices, are added up."""
        connection = http.client.HTTPConnection(self.http, timeout=30)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        name, _, labels = series.rstrip("}").partition("{")
        wanted = set(filter(None, labels.split(",")))
        found = []
        for line in lines:
            written, _, value = line.rpartition(" ")
            its_name, _, its_labels = written.rstrip("}").partition("{")
            if its_name == name and wanted <= set(its_labels.split(",")):
                found.append(float(value))
        if not found and absent is None:
            raise AssertionError(f"{series} is not in /metrics")
        return sum(found) if found else absent

    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """The exit code, once it has ended by itself or by a signal."""
        code = self._process.wait(seconds)
        self._close()
        return code

    def terminate(self) -> int:
        """SIGTERM; gives the exit code."""
        self.signal()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._close()

    def __enter__(self) -> "RealServer":
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.poll() is None:
            assert self.terminate() == 0, "".join(self.log[-20:])
        else:
            self._close()

    def _close(self) -> None:
        self._reader.join()
        self._process.stderr.close()

    def _read(self) -> None:
        for line in self._process.stderr:
            self.log.append(line)
            pages = _PAGES.search(line)
            if pages:
                self.http = pages.group(1)
            found = _LISTENING.search(line)
            if found and not self.target:
                self.target = found.group(1)
                self._told.set()
        self._told.set()
