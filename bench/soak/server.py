# SPDX-License-Identifier: Apache-2.0
"""Starts an embedd process for a measurement, reads its figures, stops it. Used by `run` and scripts/mps-acceptance."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.request

_GRPC = re.compile(r"listening on ([^\s\"]+)")
_HTTP = re.compile(r"status page at (http://[^\s\"]+)")


class Server:
    """A running server. `grpc`: HOST:PORT; `http`: URL; `pid`; `log`: what it wrote so far."""

    def __init__(self, binary: pathlib.Path, model: pathlib.Path, *flags: str, env: dict | None = None,
                 start_seconds: float = 300) -> None:
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [str(binary), "--model", str(model), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "text",
             *flags], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
            env={**os.environ, **(env or {})})
        self.pid = self._process.pid
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.grpc = self._wait_for(_GRPC, start_seconds)
            self.http = self._wait_for(_HTTP, start_seconds).rstrip("/")
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        for line in self._process.stderr:
            self.log.append(line.rstrip("\n"))

    def _wait_for(self, pattern: re.Pattern, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.log):
                found = pattern.search(line)
                if found:
                    return found.group(1)
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the server did not start:\n" + "\n".join(self.log[-15:]))

    def wait_ready(self, client, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                client.wait_ready(timeout=1)
                return
            except Exception as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("the server is not ready:\n" + "\n".join(self.log[-15:])) from error

    def metrics(self) -> dict[str, float]:
        """Every series of /metrics, by its name with labels."""
        text = urllib.request.urlopen(self.http + "/metrics", timeout=30).read().decode()
        series = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                series[name] = float(value)
        return series

    def batches(self) -> list[dict]:
        found = json.load(urllib.request.urlopen(self.http + "/batches", timeout=30))
        return found if isinstance(found, list) else next(v for v in found.values() if isinstance(v, list))

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        """SIGTERM, then the exit code; 0 is a clean end."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
