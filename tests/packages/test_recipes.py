# SPDX-License-Identifier: Apache-2.0
"""Recipes that other machines carry out, checked as far as this one can: workflows, compose file, formula, launchd unit, release notes.

The tools come as Go modules or with the system; where one is not there its test is skipped, and a night installs what it can.
"""

import hashlib
import os
import plistlib
import re
import shutil
import subprocess
import sys

import pytest

import roots

ROOT = roots.ROOT
_GO_TOOLS = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
    "compose-go": "github.com/compose-spec/compose-go/v2/cmd@v2.16.2",
}


def go_tool(name):
    """Path of the tool; a night builds it once."""
    found = shutil.which(name) or shutil.which(roots.CACHE / "go" / name)
    if found:
        return found
    if not roots.NIGHTLY or shutil.which("go") is None:
        pytest.skip(f"{name} is not installed")
    folder = roots.CACHE / "go" / f"{name}.build"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "install", _GO_TOOLS[name]], check=True, env={**os.environ, "GOBIN": str(folder)})
    built = next(folder.iterdir())
    built.rename(roots.CACHE / "go" / name)
    return roots.CACHE / "go" / name


def test_workflows_are_right():
    done = subprocess.run([go_tool("actionlint")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_run_scripts_that_are_there():
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        steps = re.sub(r"(?m)^.*\buses: .*$", "", workflow.read_text())
        for name in re.findall(r"(?:scripts|packaging|docker)/[\w/.-]*\w", steps):
            assert (ROOT / name).exists(), f"{workflow.name}: {name}"


def test_compose_file_is_right():
    tool, file = go_tool("compose-go"), ROOT / "docker/compose.yaml"
    done = subprocess.run([tool, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no-new-privileges" in done.stdout


def test_a_mistake_in_a_compose_file_is_noticed(tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text((ROOT / "docker/compose.yaml").read_text().replace("read_only:", "readonly:", 1))
    done = subprocess.run([go_tool("compose-go"), str(file)], capture_output=True, text=True)
    assert done.returncode != 0 and "readonly" in done.stderr


def test_compose_gives_the_drain_its_time():
    text = (ROOT / "docker/compose.yaml").read_text()
    drain, grace = (int(re.search(rf"{name}: (\d+)s", text)[1]) for name in ("EMBEDD_DRAIN_TIMEOUT", "stop_grace_period"))
    delay = int(re.search(r"EMBEDD_DRAIN_DELAY=(\d+)s", (ROOT / "docker/Dockerfile").read_text())[1])
    assert grace > drain + delay


def test_the_formula_is_ruby_and_names_the_release(tmp_path):
    tarball = tmp_path / "embedd.tar.gz"
    tarball.write_bytes(b"sources")
    formula = subprocess.run(
        [sys.executable, str(ROOT / "packaging/homebrew/formula.py"), str(tarball), "https://example.org/embedd", "1.2.3"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert 'url "https://example.org/embedd/releases/download/v1.2.3/embedd-1.2.3.tar.gz"' in formula
    assert f'sha256 "{hashlib.sha256(b"sources").hexdigest()}"' in formula
    assert not re.search(r"@[A-Z0-9]+@", formula)
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed")
    done = subprocess.run(["ruby", "-c"], input=formula, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_formula_depends_on_what_bootstrap_installs():
    """But for tools, and for what only tests need; LibTorch is a formula there and a wheel here."""
    wanted = re.search(r'brew_packages="(.*?)"', (ROOT / "scripts/bootstrap").read_text(), re.S)[1].split()
    depends = set(re.findall(r'depends_on "([^"]+)"', (ROOT / "packaging/homebrew/embedd.rb.in").read_text()))
    tools = {"ccache", "git", "catch2", "llvm", "clang-format", "python@3.13", "haproxy"}
    assert depends == set(wanted) - tools | {"pytorch"}


def test_the_launchd_unit_drains():
    unit = plistlib.loads((ROOT / "docs/deploy/launchd/dev.embedd.server.plist").read_bytes())
    assert unit["KeepAlive"] == {"SuccessfulExit": False} and unit["ExitTimeOut"] > 30
    assert any(word.endswith("embedd.conf") for word in unit["ProgramArguments"])


def test_release_notes_are_the_changelogs_words():
    text = (ROOT / "CHANGELOG.md").read_text()
    version = re.search(r"^## (\d+\.\d+\.\d+) \(", text, re.M)[1]
    notes = subprocess.run([str(ROOT / "scripts/release"), "--notes", version], check=True, capture_output=True, text=True).stdout
    assert notes.strip() and notes.strip() in text and not re.search(r"^## ", notes, re.M)
    other = subprocess.run([str(ROOT / "scripts/release"), "--notes", "99.0.0"], capture_output=True, text=True)
    assert other.returncode == 1 and "does not speak of 99.0.0" in other.stderr


def test_manual_pages_of_help_texts(tmp_path):
    """The page has each flag with its text, and nothing in a help text is taken for a command of roff."""
    program = tmp_path / "tool"
    program.write_text("""#!/bin/sh
[ "$1" = --version ] && echo "tool 1.0" && exit
cat <<'END'
tool: does a thing

Usage: tool [flags]

Some words.
.this is text

Flags, all:
  --flag-one N
      What it does, in
      two lines. [3]
  -h, --help                  Print this

Exit codes: 0.
END
""")
    program.chmod(0o755)
    page = subprocess.run([sys.executable, str(ROOT / "packaging/man_page.py"), str(program)], check=True, capture_output=True,
                          text=True).stdout  # fmt: skip
    assert '.SH NAME\ntool \\- does a thing\n' in page and ".SH SYNOPSIS\ntool [flags]\n" in page
    assert '.SH "FLAGS, ALL"\n.TP\n\\fB\\-\\-flag\\-one N\\fR\nWhat it does, in two lines. [3]\n' in page
    assert ".TP\n\\fB\\-h, \\-\\-help\\fR\nPrint this\n" in page
    assert "\n\\&.this is text\n" in page and "\nExit codes: 0.\n" in page
