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


class AioAdapter:
    """An `aio.EmbedClient` that can be called like the other one, so that one test holds for both."""

    def __init__(self, *arguments, **keywords):
        import asyncio

        from embedd import aio

        self._loop = asyncio.new_event_loop()
        self._client = aio.EmbedClient(*arguments, **keywords)

    def _run(self, awaitable):
        return self._loop.run_until_complete(awaitable)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *arguments, **keywords: self._run(method(*arguments, **keywords))

    def embed_stream(self, *arguments, **keywords):
        return self._stream(self._client.embed_stream(*arguments, **keywords))

    def embed_texts_stream(self, *arguments, **keywords):
        return self._stream(self._client.embed_texts_stream(*arguments, **keywords))

    def _stream(self, results):
        try:
            while True:
                try:
                    yield self._run(results.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self._run(results.aclose())

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._run(self._client.close())
        self._loop.close()


@pytest.fixture(params=["threads", "asyncio"])
def make_client(request):
    """Either client: `make_client(target, ...)`. Closed at the end of the test."""
    from embedd import EmbedClient

    made = []

    def make(*arguments, **keywords):
        kind = EmbedClient if request.param == "threads" else AioAdapter
        made.append(kind(*arguments, **{"timeout": 20, **keywords}))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
