# SPDX-License-Identifier: Apache-2.0
"""The table of docs/models.md, made of what the tests of families measured."""

import os
import sys

import pytest
import torch

pytest.register_assert_rewrite("families")
from families import ROOT, worst  # noqa: E402

sys.path.insert(0, str(ROOT / "tests" / "parity" / "text"))
from texts import training_lines  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def table(request):
    torch.set_num_threads(1)
    yield
    if not worst:
        return
    lines = ["| family | folder | tower | largest difference |", "|---|---|---|---|"]
    shown = {key: d for key, d in worst.items() if "tiny" not in key[0]}
    lines += [f"| {f} | {k} | {w} | {d:.1e} |" for (f, k, w), d in shown.items()]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + "\n".join(lines))
    if os.environ.get("EMBEDD_WRITE_DOCS"):
        page = ROOT / "docs" / "models.md"
        before, rest = page.read_text().split("<!-- table of families -->\n")
        _, after = rest.split("<!-- end -->")
        page.write_text(before + "<!-- table of families -->\n" + "\n".join(lines) + "\n<!-- end -->" + after)


@pytest.fixture(scope="session")
def lines():
    return training_lines()
