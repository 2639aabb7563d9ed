# SPDX-License-Identifier: Apache-2.0
"""The examples for Ray Data and Dask, run as programs over Parquet with two servers, one of which is killed and started again."""

import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from real_server import ROOT
from replicas import wait_for
from test_faults import CLOSE, NIGHTLY, known  # noqa: F401  (a fixture)

FILES = 8


@pytest.mark.skipif(not NIGHTLY, reason="at night")
@pytest.mark.parametrize("engine, flags", [("ray", ["--actors", "4"]), ("dask", [])])
def test_a_table_is_embedded_whole_though_a_server_is_killed(engine, flags, replicas, known, tmp_path):
    for package in (engine, "pyarrow"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"NOT TESTED, {engine}: the Python package {package} is not here")
    import pyarrow
    import pyarrow.parquet

    files, expected = known
    source, sink = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(files)), FILES)):
        table = pyarrow.table({"id": part, "image": pyarrow.array([files[index] for index in part], pyarrow.binary())})
        pyarrow.parquet.write_table(table, source / f"{number}.parquet")
    victim = replicas[1]
    already = victim.answered()
    environment = {
        **os.environ,
        "EMBEDD_TARGET": ",".join(one.target for one in replicas),
        "PYTHONPATH": str(ROOT / "client" / "python" / "src"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "client" / "python" / "examples" / f"{engine}_embed.py"), str(source), str(sink), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said = []
    reader = threading.Thread(target=lambda: said.extend(program.stdout))
    reader.start()
    try:
        busy = already + len(files) // 20
        wait_for(lambda: victim.answered() > busy or program.poll() is not None, "the program embeds nothing", seconds=180)
        assert program.poll() is None, "it ended too soon:\n" + "".join(said[-30:])
        victim.kill()
        victim.start(*replicas.FLAGS, wait=False)
        assert program.wait(300) == 0, "".join(said[-30:])
    finally:
        program.kill()
        program.wait()
        reader.join()
    table = pyarrow.parquet.read_table(sink).sort_by("id").to_pydict()
    assert table["id"] == list(range(len(files)))
    assert not any(table["error"])
    got = np.array([np.asarray(vector, np.float32) for vector in table["vector"]])
    assert np.abs(got - expected).max() < CLOSE
