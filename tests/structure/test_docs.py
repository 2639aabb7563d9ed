# SPDX-License-Identifier: Apache-2.0
"""What the pages name is there: files, links, test programs and their tests; and what there is to know is on a page."""
import fnmatch
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "server"


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


PAGES = tracked("*.md")


def anchor(heading):
    """As GitHub makes it."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def anchors(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose, re.M)}


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"https?:|mailto:", link):
                continue
            path, _, fragment = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (fragment and target.suffix == ".md" and fragment not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken, broken


def test_files_that_the_docs_name_are_there():
    """In backticks as `folder/file.cc`, from the root or from server/."""
    missing = []
    for page in PAGES:
        for name in re.findall(r"`((?:\w[\w.-]*/)+\w+\.(?:h|cc|py))`", page.read_text()):
            if name.startswith(("c10/", "ATen/", "torch/")):  # LibTorch's
                continue
            if not any((base / name).exists() for base in (ROOT, SERVER, page.parent)):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert not missing, missing


def test_programs_and_tests_that_the_docs_name_are_there():
    """As `unit_device "Between the parts*"`, with Catch2's pattern."""
    lists = "\n".join(page.read_text() for page in tracked("*CMakeLists.txt"))
    programs = {f"{label or 'unit'}_{name}"
                for name, label in re.findall(r"embedd_test\((\w+)(?:[^)]*?LABEL (\w+))?", lists)}
    sources = "\n".join(source.read_text() for source in tracked("tests/*.cc"))
    cases = ["".join(re.findall(r'"([^"]*)"', text)).lower()
             for text in re.findall(r'TEST_CASE\(\s*((?:"[^"]*"\s*)+)', sources)]
    wrong = []
    for page in PAGES:
        for program, pattern in re.findall(r'\b((?:unit|integration)_\w+)(?: "([^"\[]+)")?', page.read_text()):
            if program not in programs or (pattern and not fnmatch.filter(cases, pattern.lower())):
                wrong.append(f'{page.relative_to(ROOT)}: {program} "{pattern}"')
    assert not wrong, wrong


def test_every_reason_is_explained_in_api_md():
    words = re.findall(r'"([A-Z_]+)", Code::', (SERVER / "telemetry" / "reason.cc").read_text())
    page = (ROOT / "docs" / "api.md").read_text()
    assert len(words) > 10 and not [word for word in words if f"`{word}`" not in page]


def test_every_metric_is_explained_in_operations_md():
    names = set(re.findall(r'"(embedd_\w+)"', (SERVER / "telemetry" / "metrics.cc").read_text()))
    page = (ROOT / "docs" / "operations.md").read_text()
    assert len(names) > 20 and not [name for name in names if f"`{name}" not in page]
