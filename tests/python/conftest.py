# SPDX-License-Identifier: Apache-2.0
"""Finds the client in the source tree, and offers the fake server to the tests."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CLIENT = HERE.parents[1] / "client" / "python" / "src"
for folder in (str(HERE), str(CLIENT)):
    if folder not in sys.path:
        sys.path.insert(0, folder)
# Child processes (spawned workers, the fake server) have to find it too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CLIENT), str(HERE), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def server():
    """A fake server in this process, and nothing scripted."""
    from fake_server import FakeServer

    with FakeServer() as running:
        yield running


@pytest.fixture
def client(server):
    """A client of `server`."""
    from embedd import EmbedClient

    with EmbedClient(server.target, timeout=20) as connected:
        yield connected


@pytest.fixture
def start_server():
    """Starts fake servers as processes of their own: `process, port = start_server("--port", "0")`."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_server.py"), *arguments], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
