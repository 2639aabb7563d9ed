# SPDX-License-Identifier: Apache-2.0
"""What is mounted for a test or a rehearsal is mounted in a namespace of its own. A /dev bound into a folder of the checkout is the
machine's own: a run that is killed leaves it there, and who then deletes the checkout deletes the machine's devices."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The command, in a list of arguments or at the start of a line of shell; buildah's own is another.
MOUNTS = re.compile(r"""\[\s*["']mount["']|(?:^|["'&;]\s*)mount\s+-""", re.MULTILINE)


def test_mounts_are_made_in_a_namespace_of_their_own():
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "scripts", "bench", "tests", "docker", "packaging"], capture_output=True,
                           text=True, check=True).stdout.split()  # fmt: skip
    texts = {name: (ROOT / name).read_text(errors="replace") for name in names if (ROOT / name).is_file()}
    mounting = {name for name, text in texts.items() if MOUNTS.search(text) and name != "tests/structure/test_mounts.py"}
    assert "bench/cuda/rehearsal.py" in mounting  # or the pattern finds nothing any more
    assert [name for name in sorted(mounting) if '"unshare", "--mount"' not in texts[name]] == []
