#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""formula.py TARBALL REPOSITORY-URL VERSION: prints the Homebrew formula of a release, for a tap. Untried on a Mac so far."""

import hashlib
import pathlib
import sys

tarball, repository, version = sys.argv[1:]
template = (pathlib.Path(__file__).parent / "embedd.rb.in").read_text()
for name, value in {
    "REPOSITORY": repository,
    "VERSION": version,
    "SHA256": hashlib.sha256(pathlib.Path(tarball).read_bytes()).hexdigest(),
}.items():
    template = template.replace(f"@{name}@", value)
print(template, end="")
