# SPDX-License-Identifier: Apache-2.0
"""The real embedd under load, hostile clients and restarts: what `docs/reliability.md` promises.

    pytest tests/reliability                    short forms, about a minute
    EMBEDD_NIGHTLY=1 pytest -s tests/reliability    the full ones; -s shows the figures
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "python", HERE.parents[1] / "client" / "python" / "src"):
    sys.path.insert(0, str(folder))
os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:3], os.environ.get("PYTHONPATH", "")])

import pytest  # noqa: E402

from harness import write_slow_model  # noqa: E402


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory):
    """A model that takes a batch long enough for the device, not the wire, to be what is short."""
    return write_slow_model(tmp_path_factory.mktemp("slow-model"))
