# SPDX-License-Identifier: Apache-2.0
"""gRPC alone behind a name: a replica that is added is found when connections end, and none is asked before it serves."""

import threading

import numpy as np
import pytest

from replicas import wait_for
from test_faults import Jobs, at_night, known  # noqa: F401  (a fixture)

AGED = ("--drain-delay", "2s", "--max-connection-age", "1s")


def serve(replicas, *flags):
    for one in replicas:
        one.kill()
        one.start(*flags, wait=False)
    for one in replicas:
        replicas.wait_ready(one)


@at_night
def test_a_replica_that_dns_learns_of_is_found_within_a_connections_age(open_way, replicas, known, retries):
    serve(replicas, *AGED)
    way = open_way("name")

    def fault():
        added = replicas.add()
        wait_for(lambda: added.answered() > 0, "the replica that was added gets no call")

    Jobs({"name": way}, known, fault).tell("added, connections 1 s", {})
    assert not retries, "connections that end cost calls"


@at_night
def test_without_an_age_it_is_not_found(open_way, replicas, known):
    """What the flag is for; when this fails, gRPC has learnt something and the flag may go."""
    way = open_way("name")
    asked = threading.Event()

    def fault():
        added = replicas.add()
        # As long as it takes to find it several times over with connections of 1 s.
        asked.wait(6)
        assert added.answered() == 0

    Jobs({"name": way}, known, fault)


@at_night
@pytest.mark.parametrize("name", ["name", "list"])
def test_a_replica_that_loads_or_drains_is_left_before_it_refuses_anything(name, open_way, replicas, known, retries):
    way, victim = open_way(name), replicas[1]

    def refused():
        series = [f'embedd_rejected_total{{reason="{reason}"}}' for reason in ("DRAINING", "MODEL_LOADING")]
        try:
            return sum(victim.server.metric(one, absent=0) for one in series)
        except OSError:  # it has ended, or does not listen yet
            return None

    def fault():
        victim.server.signal()
        # Its pages answer until the end: the last look is what it refused in all.
        last = 0
        while victim.running():
            count = refused()
            last = last if count is None else count
        assert last == 0
        victim.server.wait()
        victim.start(*replicas.FLAGS, wait=False)
        wait_for(lambda: victim.answered() > 0, "nobody asks it again")
        assert refused() == 0

    Jobs({name: way}, known, fault)
    assert not retries


def test_expected_rows_tell_pictures_apart(known):
    """The other tests would notice a vector in another's row."""
    rows = known[1]
    nearest = np.sort(rows @ rows.T, axis=1)[:, -2]
    assert nearest.max() < 1 - 1e-4
