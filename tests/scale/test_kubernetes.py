# SPDX-License-Identifier: Apache-2.0
"""docs/deploy/kubernetes against the schemas of Kubernetes, strictly; and that it says what the image and the client assume."""

import importlib.util
import re

import pytest

from real_server import ROOT

yaml = pytest.importorskip("yaml", reason="NOT TESTED, Kubernetes: the Python package PyYAML is not here")

BASE = ROOT / "docs" / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.32", "1.37")


def base():
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    documents = [yaml.safe_load((BASE / name).read_text()) for name in listed]
    return {document["kind"]: document for document in documents}


def merged(old, new):
    """A strategic merge, as far as these files need one: lists whose entries have names are merged by them."""
    if isinstance(old, dict) and isinstance(new, dict):
        together = {key: merged(old[key], new[key]) if key in new else old[key] for key in old}
        together.update({key: value for key, value in new.items() if key not in old})
        return {key: value for key, value in together.items() if value is not None}
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(one, dict) and "name" in one for one in old + new):
        named = {one["name"]: one for one in old}
        for one in new:
            named[one["name"]] = merged(named.get(one["name"], {}), one)
        return list(named.values())
    return new


def with_tls():
    documents = base()
    for patch in yaml.safe_load((BASE / "tls" / "kustomization.yaml").read_text())["patches"]:
        change = yaml.safe_load((BASE / "tls" / patch["path"]).read_text())
        documents[change["kind"]] = merged(documents[change["kind"]], change)
    return documents


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("variant", [base, with_tls])
def test_the_files_are_what_kubernetes_takes(variant, version):
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("NOT TESTED, Kubernetes: the Python package kubernetes-validate is not here")
    import kubernetes_validate

    documents = variant()
    assert set(documents) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for document in documents.values():
        kubernetes_validate.validate(document, version, strict=True)
    documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents["Deployment"], version, strict=True)


def test_a_pod_may_take_as_long_to_end_as_the_server_does():
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    delay = int(re.search(r"EMBEDD_DRAIN_DELAY=(\d+)s", dockerfile)[1])
    spec = base()["Deployment"]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > delay + 30
    # Not ready is seen, and DNS has time to follow, before calls are refused.
    assert spec["containers"][0]["readinessProbe"]["periodSeconds"] < delay


def test_the_tls_variant_asks_over_tls_and_keeps_the_rest():
    container = with_tls()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe"):
        assert "grpc" not in container[probe] and "--tls-ca" in container[probe]["exec"]["command"]
    named = {one["name"]: one["value"] for one in container["env"]}
    assert named["EMBEDD_TOKEN_FILE"] and named["EMBEDD_TLS_CERT"]
    assert {one["name"] for one in container["volumeMounts"]} == {"model", "token", "tls"}
