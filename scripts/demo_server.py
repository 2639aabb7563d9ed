# SPDX-License-Identifier: Apache-2.0
"""Starts and stops one embedd process. Used by demo_run.py. Its log goes to a file; nothing is left running."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import threading
import time

_ADDRESSES = {"grpc": re.compile(r"listening on ([^\s\"]+)"), "http": re.compile(r"status page at (http://[^\s\"]+)")}
_STOP_SECONDS = 40  # The server's own limit for finishing accepted work is 30 s.


class ServerError(RuntimeError):
    """The server did not start, or did not end as it should; the message holds the end of its log."""


class DemoServer:
    """A running server: `grpc` (HOST:PORT) and `http` (URL of the status page)."""

    def __init__(self, binary: pathlib.Path, model: pathlib.Path, log: pathlib.Path, start_seconds: float = 60):
        # One thread is enough for so small a model. With more, each step waits for the slowest of them, which on two
        # cores busy with other work took a hundred times as long.
        command = [str(binary), "--model", str(model), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                   "--log-format", "text", "--threads", "1"]
        if not binary.exists():
            raise ServerError(f"{binary} is not built; scripts/build makes it")
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        # A session of its own: Ctrl-C in the terminal reaches the demo only, which then stops the server properly.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                         errors="replace", start_new_session=True)
        self._found: dict[str, str] = {}
        self._news = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()
        try:
            with self._news:
                self._news.wait_for(lambda: self._ended or len(self._found) == len(_ADDRESSES), start_seconds)
            if len(self._found) < len(_ADDRESSES):
                raise ServerError(f"the server did not say where it listens\n{self.log_tail()}")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.grpc, self.http = self._found["grpc"], self._found["http"]

    def wait_ready(self, client, seconds: float = 120) -> None:
        """Waits until the model serves; gives up at once when the process has ended."""
        end = time.monotonic() + seconds
        while True:
            try:
                client.wait_ready(timeout=1)
                return
            except Exception as error:
                if self._process.poll() is not None:
                    raise ServerError(
                        f"the server ended with exit code {self._process.returncode}\n{self.log_tail()}") from error
                if time.monotonic() > end:
                    raise ServerError(f"the server is not ready: {error}\n{self.log_tail()}") from error

    def stop(self) -> int:
        """Asks the server to finish (SIGTERM) and returns its exit code; 0 is a clean end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ServerError(f"the server did not stop within {_STOP_SECONDS} s\n{self.log_tail()}") from None

    def wait(self) -> int:
        """Waits until the server ends by itself; its exit code."""
        return self._process.wait()

    def log_tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _read(self) -> None:
        with open(self._log, "w") as log:
            for line in self._process.stderr:
                log.write(line)
                log.flush()
                with self._news:
                    for name, pattern in _ADDRESSES.items():
                        if match := pattern.search(line):
                            self._found.setdefault(name, match[1])
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
