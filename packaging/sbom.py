#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what an image holds as an SPDX 2.3 document: embedd, the LibTorch it carries (which no package manager there knows of),
and the Debian packages. Called by docker/Dockerfile.

    sbom.py --dpkg-status FILE --libraries FOLDER --build BUILD
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What comes with LibTorch: file name -> (package, whose, licence). Their versions are those of the Python packages of the build.
_CARRIED = {
    "libtorch": ("pytorch", "PyTorch Foundation", "BSD-3-Clause", "torch"),
    "libc10": ("pytorch", "PyTorch Foundation", "BSD-3-Clause", "torch"),
    "libgomp": ("libgomp", "Free Software Foundation", "GPL-3.0-or-later WITH GCC-exception-3.1", "torch"),
    "libcudart": ("cuda-cudart", "NVIDIA Corporation", "LicenseRef-NVIDIA-CUDA-EULA", "nvidia_cuda_runtime"),
    "libcupti": ("cuda-cupti", "NVIDIA Corporation", "LicenseRef-NVIDIA-CUDA-EULA", "nvidia_cuda_cupti"),
}


def identifier(*parts: str) -> str:
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(parts))


def package(kind: str, name: str, version: str, supplier: str, licence: str, **more: object) -> dict:
    return {
        "SPDXID": identifier(kind, name), "name": name, "versionInfo": version, "supplier": supplier,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": licence,
        "copyrightText": "NOASSERTION", **more,
    }  # fmt: skip


def debian(status: str) -> list[dict]:
    found = []
    for block in status.split("\n\n"):
        field = dict(re.findall(r"(?m)^(Package|Version|Architecture|Status|Maintainer): (.*)$", block))
        if field.get("Status", "").endswith(" installed"):
            purl = f"pkg:deb/debian/{field['Package']}@{field['Version']}?arch={field['Architecture']}"
            # SPDX wants the address in parentheses.
            whose = re.sub(r" <(.*)>$", r" (\1)", field.get("Maintainer", "Debian"))
            found.append(package(
                "deb", field["Package"], field["Version"], f"Organization: {whose}", "NOASSERTION",
                externalRefs=[{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
                comment=f"Licences: /usr/share/doc/{field['Package']}/copyright",
            ))  # fmt: skip
    return found


def carried(folder: pathlib.Path, build: pathlib.Path) -> list[dict]:
    include = re.search(r"^LibTorch_INCLUDE_DIR:\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M)[1]
    site = pathlib.Path(include).parents[1]
    found = []
    for library in sorted(folder.iterdir()):
        name, whose, licence, distribution = next(v for start, v in _CARRIED.items() if library.name.startswith(start))
        info = next(site.glob(f"{distribution}-*.dist-info"), None)
        version = info.name.removesuffix(".dist-info").split("-")[1] if info else "NOASSERTION"
        found.append(package(
            "library", f"{name}:{library.name}", version, f"Organization: {whose}", licence,
            checksums=[{"algorithm": "SHA256", "checksumValue": hashlib.sha256(library.read_bytes()).hexdigest()}],
            packageFileName=library.name, comment="Licences: /usr/local/share/doc/embedd/licences",
        ))  # fmt: skip
    return found


def document(status: str, libraries: pathlib.Path, build: pathlib.Path) -> dict:
    version = re.search(r'__version__ = "(.*)"', (ROOT / "client/python/src/embedd/_version.py").read_text())[1]
    embedd = package("program", "embedd", version, "Organization: embedd maintainers", "Apache-2.0", primaryPackagePurpose="APPLICATION")
    parts = carried(libraries, build) + debian(status)
    made = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or datetime.datetime.now().timestamp(), datetime.timezone.utc)
    content = hashlib.sha256(json.dumps([embedd, parts]).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"embedd-{version}-image",
        "documentNamespace": f"urn:embedd:sbom:{version}:{content}",
        "creationInfo": {"created": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: embedd-sbom"]},
        "packages": [embedd, *parts],
        "hasExtractedLicensingInfos": [{
            "licenseId": "LicenseRef-NVIDIA-CUDA-EULA", "name": "NVIDIA CUDA Toolkit End User License Agreement",
            "extractedText": "The text is in /usr/local/share/doc/embedd/licences.",
        }],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": embedd["SPDXID"]},
            *[{"spdxElementId": embedd["SPDXID"], "relationshipType": "DEPENDS_ON", "relatedSpdxElement": part["SPDXID"]} for part in parts],
        ],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dpkg-status", type=pathlib.Path, required=True)
    parser.add_argument("--libraries", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    given = parser.parse_args()
    print(json.dumps(document(given.dpkg_status.read_text(), given.libraries, given.build), indent=1))
