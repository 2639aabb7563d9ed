# SPDX-License-Identifier: Apache-2.0
"""What a process that forks does with a client. `test_reliability.py` runs each scenario in a fresh interpreter: a
test run that has gRPC servers and event loops in its own process is no place to fork from.

    python fork_scenarios.py SCENARIO PORT
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from embedd import EmbedClient
from fake_server import vectors


def check(client, count, **arguments):
    images = [b"image-%d" % number for number in range(count)]
    assert np.array_equal(client.embed_images(images, **arguments), vectors(images))


def in_child(work):
    """Runs `work` in a forked child; raises unless it ends well."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            work()
            os._exit(0)
        except BaseException:  # a child must never go on with the parent's work
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"child ended with status {status}"


def idle(client):
    """Parent and children take turns."""
    check(client, 200)
    for _ in range(8):
        in_child(lambda: check(client, 200))
        check(client, 200)


def busy(client):
    """The parent forks while its other threads are in calls, from the moment of their first."""
    stop = threading.Event()

    def keep_calling():
        while not stop.is_set():
            check(client, 40, batch_size=5)
            client.embed_images(b"x" * 100_000)

    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(keep_calling) for _ in range(3)]
        try:
            for _ in range(8):
                in_child(lambda: check(client, 40))
        finally:
            stop.set()
        for caller in callers:
            caller.result()


def generations(client):
    """Children of children, with a client that the parent never used."""
    in_child(lambda: (check(client, 20), in_child(lambda: check(client, 20))))
    check(client, 20)


_inherited = None


def _inherit(client):
    global _inherited
    _inherited = client


def _embed_one(number):
    return _inherited.embed_images([b"pool-%d" % number])[0]


def pool(client):
    """A forked pool of workers, as data loaders use."""
    client.embed_images(b"x")
    with multiprocessing.get_context("fork").Pool(2, _inherit, (client,)) as workers:
        got = workers.map(_embed_one, range(20))
    assert np.array_equal(got, vectors([b"pool-%d" % number for number in range(20)]))


if __name__ == "__main__":
    scenario = {"idle": idle, "busy": busy, "generations": generations, "pool": pool}[sys.argv[1]]
    with EmbedClient(f"localhost:{sys.argv[2]}", timeout=20) as shared:
        scenario(shared)
