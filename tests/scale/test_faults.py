# SPDX-License-Identifier: Apache-2.0
"""A job over two servers, behind everything that docs/deploy shows, while something happens to one of them.

Every vector is compared: none may be lost, doubled or another picture's. The short form lets all ways work at once
through one fault; at night each goes through each fault alone, with 4,000 images.
"""

import io
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

import embedd
from embedd import EmbedClient
from replicas import Slow, container_defaults, wait_for
from ways import WAYS

NIGHTLY = os.environ.get("EMBEDD_NIGHTLY", "") not in ("", "0")
COUNT = 4000 if NIGHTLY else 300
USUAL = ("list", "name", "haproxy", "envoy")
CLOSE = 1e-5

# One run of a test: the ways that go through it together.
TOGETHER = [(name,) for name in WAYS] if NIGHTLY else [USUAL]
together = pytest.mark.parametrize("together", TOGETHER, ids="+".join)
at_night = pytest.mark.skipif(not NIGHTLY, reason="at night")


def figure(text):
    """A measured value, for docs/scale.md; seen with pytest -s."""
    print(f"\n    {text}", end="")


def pictures(count):
    """PNG files, each of its own colours: no two have the same vector."""
    rng = np.random.default_rng(5)
    files = []
    for pixels in rng.integers(0, 256, (count, 3, 3, 3), np.uint8):
        file = io.BytesIO()
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(file, "PNG", compress_level=1)
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="module")
def known(shared_replicas):
    """Pictures and their vectors, of one server asked directly."""
    files = pictures(COUNT)
    with EmbedClient(shared_replicas[0].target) as client:
        return files, client.embed_images(files)


def check(got, known, indices):
    files, expected = known
    right = expected[indices]
    assert got.shape == right.shape
    assert np.abs(got - right).max() < CLOSE
    # Every vector is nearest to its own picture's.
    nearest = np.concatenate([(part @ expected.T).argmax(axis=1) for part in np.array_split(got, max(1, len(got) // 500))])
    assert (nearest == indices).all()


class Jobs:
    """The same job on several ways at once, of calls and as a stream, each with at least `COUNT` images. All go on while
    `fault` does."""

    def __init__(self, opened, known, fault, kinds=("calls",)):
        self.error, self.seconds, self.images = {}, {}, {}
        self._known = known
        self._begin, self._over = threading.Event(), threading.Event()
        jobs = [threading.Thread(target=self._run, args=(way, (name, kind))) for name, way in opened.items() for kind in kinds]
        for one in jobs:
            one.start()
        try:
            assert self._begin.wait(180), "no job got to a quarter of its images"
            fault()
        finally:
            self._over.set()
            for one in jobs:
                one.join()
        for name, error in self.error.items():
            raise AssertionError(f"the job through {' '.join(name)}") from error

    def _images(self, sent):
        files = self._known[0]
        while len(sent) < COUNT or not self._over.is_set():
            sent.append(len(sent) % len(files))
            yield files[sent[-1]]
            if len(sent) == COUNT // 4:
                self._begin.set()
        for index in range(64):  # and some when it is over
            sent.append(index)
            yield files[index]

    def _run(self, way, name):
        sent, start = [], time.monotonic()
        try:
            with way.client() as client:
                if name[1] == "stream":
                    results = list(client.embed_stream(self._images(sent)))
                    assert [one.index for one in results] == list(range(len(sent)))
                    got = np.stack([one.vector for one in results])
                else:
                    got = client.embed_images(self._images(sent), batch_size=16)
            check(got, self._known, np.array(sent))
        except BaseException as error:  # told by the test's own thread
            self.error[name] = error
        self._begin.set()
        self.seconds[name], self.images[name] = time.monotonic() - start, len(sent)

    def tell(self, what, retries):
        for name, seconds in self.seconds.items():
            text = f"{what:24s} {' '.join(name):14s} {self.images[name]:6d} images, {self.images[name] / seconds:4.0f}/s, all right"
            figure(f"{text}, {retries.get(name[0], 0)} calls tried again")


@pytest.fixture
def open_ways(open_way, replicas):
    """Opens the ways of a test that are here."""

    def open_all(names):
        here = {name: open_way(name) for name in names if not WAYS[name].missing()}
        if not here:
            pytest.skip(WAYS[names[0]].missing())
        return here

    return open_all


@pytest.fixture
def counted(retries):
    """How many calls each of these ways' clients tried again so far."""
    return lambda opened: {name: len(retries.get(way.target().split(",")[0], ())) for name, way in opened.items()}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_is_here(name, open_way, replicas):
    """Each way that is not tested says so, once."""
    open_way(name)


@pytest.mark.parametrize("kinds", [("calls",), ("stream",)] if NIGHTLY else [("calls", "stream")], ids="+".join)
@together
def test_kill_9_and_restart(together, kinds, open_ways, replicas, known, counted):
    opened = open_ways(together)
    victim = replicas[1]

    def fault():
        victim.kill()
        time.sleep(0.5)
        victim.start(*replicas.FLAGS)
        if "calls" in kinds:  # a stream stays where it went on
            wait_for(lambda: victim.answered() > 0, "nobody asks the server that is back")

    Jobs(opened, known, fault, kinds).tell("kill -9", counted(opened))


@at_night
@together
def test_a_replica_at_a_quarter_of_its_speed(together, open_ways, replicas, known, counted):
    opened = open_ways(together)
    with Slow(replicas[1].server.pid):
        jobs = Jobs(opened, known, lambda: None)
    jobs.tell("stopped 3/4 of the time", counted(opened))


@together
def test_a_replica_that_is_added_gets_work(together, open_ways, replicas, known, counted):
    opened = {name: way for name, way in open_ways(together).items() if way.FINDS_NEW and name != "name"}
    if not opened:
        pytest.skip("a way of fixed addresses; gRPC's names are in test_connection_age.py")

    def fault():
        added = replicas.add()
        wait_for(lambda: added.answered() > 0, "nobody asks the server that was added")

    jobs = Jobs(opened, known, fault)
    jobs.tell("a third one is added", counted(opened))


@pytest.mark.parametrize("name", WAYS if NIGHTLY else USUAL)
def test_a_call_of_27_mib(name, open_way, replicas):
    large = np.random.default_rng(1).integers(0, 256, (3, 3, 3), np.uint8).repeat(1024, 0).repeat(1024, 1)
    assert large.nbytes == 27 << 20
    with EmbedClient(replicas[0].target) as direct:
        expected = direct.embed_images([large])
    with open_way(name).client() as client:
        for _ in range(2):
            assert np.abs(client.embed_images([large], retry_for=0) - expected).max() < CLOSE


@together
def test_with_all_servers_dead_the_error_says_so(together, open_ways, replicas, known):
    opened = open_ways(together)
    for one in replicas:
        one.kill()
    clients = {name: way.client() for name, way in opened.items()}
    for name, client in clients.items():
        with pytest.raises(embedd.ServerUnavailable):
            client.embed_images(known[0][:40], batch_size=10, retry_for=0.5)
    for one in replicas:
        one.start(*replicas.FLAGS, wait=False)
    for name, client in clients.items():
        check(client.embed_images(known[0][:40], batch_size=10), known, np.arange(40))
        client.close()


@together
def test_sigterm_costs_no_call(together, open_ways, replicas, known, counted):
    """With the container's settings; by day with a shorter delay."""
    flags = container_defaults() if NIGHTLY else replicas.FLAGS
    if NIGHTLY:
        for one in replicas:
            one.kill()
            one.start(*flags)
    opened = open_ways(together)
    victim = replicas[1]
    before = counted(opened)

    def fault():
        assert victim.terminate() == 0
        victim.start(*flags)
        wait_for(lambda: victim.answered() > 0, "nobody asks the server that is back")

    jobs = Jobs(opened, known, fault)
    after = {name: count - before[name] for name, count in counted(opened).items()}
    jobs.tell(f"SIGTERM, drain delay {flags[1]}", after)
    assert all(after[name] == 0 for name, way in opened.items() if way.ASKS_HEALTH), after
