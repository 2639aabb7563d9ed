# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server in the middle of a Python job, with a supervisor that starts it again."""

import threading
import time

import numpy as np
from PIL import Image

from embedd import EmbedClient
from harness import MODEL, NIGHTLY, Server, figure

CLOSE = 1e-5


class Supervisor:
    """Keeps a server on one port, as systemd would."""

    def __init__(self):
        self.server = Server(model=MODEL)
        self.starts = 1
        self._port = self.server.target.rpartition(":")[2]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @property
    def target(self):
        return f"127.0.0.1:{self._port}"

    def _watch(self):
        while not self._stop.wait(0.05):
            if not self.server.running():
                self.server.wait()
                self.server = Server(listen=f"127.0.0.1:{self._port}", model=MODEL, wait=False)
                self.starts += 1

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._stop.set()
        self._thread.join()
        if self.server.running():
            self.server.kill()


def pictures(count):
    """Each of its own colours: no two have the same vector."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (count, 3, 3, 3), np.uint8)
    return [Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST) for pixels in small]


def test_a_job_survives_kill_9_of_the_server_without_loss_or_double():
    count, kills = (5000, 5) if NIGHTLY else (400, 2)
    images = pictures(count)
    with Server(model=MODEL) as server, EmbedClient(server.target, timeout=120) as client:
        expected = client.embed_images(images)
    with Supervisor() as supervisor:

        def source():
            for number, image in enumerate(images):
                if number and number % (count // (kills + 1)) == 0 and supervisor.starts <= kills:
                    supervisor.server.signal(9)
                    before = supervisor.starts
                    while supervisor.starts == before:  # one outage at a time
                        time.sleep(0.05)
                yield image

        with EmbedClient(supervisor.target, timeout=120) as client:
            got = client.embed_images(source(), batch_size=16)
        assert supervisor.starts == kills + 1
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < CLOSE
    # Every vector is nearest to its own picture's: none was doubled or put into another's row.
    nearest = np.concatenate([(part @ expected.T).argmax(axis=1) for part in np.array_split(got, max(1, count // 500))])
    assert (nearest == np.arange(count)).all()
    figure(f"{count} images, {kills} x kill -9: {count} right vectors, largest difference {np.abs(got - expected).max():.1e}")
