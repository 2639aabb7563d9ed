#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""changelog.py CHANGELOG.md VERSION CONTACT FOLDER: writes FOLDER/changelog.gz in Debian's form, out of the changelog's own words."""

import email.utils
import gzip
import os
import pathlib
import re
import sys
import textwrap


def main(changelog: str, version: str, contact: str, folder: str) -> None:
    text = pathlib.Path(changelog).read_text()
    # The day the changelog names; of a version that is not released, that of the file, or what the build says.
    section = re.search(rf"(?ms)^## {re.escape(version)} \((.*?)\)\n(.*?)(?=^## |\Z)", text)
    if section is None:
        sys.exit(f"{changelog} has no section of {version}")
    day = os.environ.get("SOURCE_DATE_EPOCH") or pathlib.Path(changelog).stat().st_mtime
    entries = re.split(r"(?m)^- ", section[2].strip())
    plain = [" ".join(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", entry).split()) for entry in entries if entry.strip()]
    lines = [textwrap.fill(entry, 78, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False) for entry in plain]
    out = f"embedd ({version}) unstable; urgency=medium\n\n" + "\n".join(lines) + f"\n\n -- {contact}  {email.utils.formatdate(float(day))}\n"
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "changelog.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(out.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
