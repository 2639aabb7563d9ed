# SPDX-License-Identifier: Apache-2.0
"""Addresses of servers in every form, and how gRPC is told to reach them."""

import json

import numpy as np
import pytest

import embedd
from embedd import EmbedClient
from embedd._channel import Endpoint, Target
from fake_server import gone, images, vectors


@pytest.mark.parametrize(
    "given, names",
    [
        ("a:1", ["a:1"]),
        (" a:1, b:2 ,a:1,", ["a:1", "b:2"]),
        (["a:1", "unix:/tmp/x,y"], ["a:1", "unix:/tmp/x,y"]),
        ("grpc://a:1,grpcs://b:2,dns:///c:3", ["a:1", "b:2", "dns:///c:3"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:1,unix:/run/x", ["ipv4:10.0.0.1:1", "10.0.0.2:1", "unix:/run/x"]),
    ],
)
def test_targets_are_told_apart(given, names):
    endpoint = Endpoint(given, None, None, ())
    assert [target.name for target in endpoint.targets] == names
    assert [target.tls is not None for target in endpoint.targets] == ["grpcs" in str(given) and name == "b:2" for name in names]


@pytest.mark.parametrize("given, kind", [(",", ValueError), ([], ValueError), ([3], TypeError), (3, TypeError)])
def test_what_names_no_server_is_refused(given, kind):
    with pytest.raises(kind):
        EmbedClient(given)


@pytest.mark.parametrize(
    "name, host, port, local",
    [
        ("localhost:50051", "localhost", 50051, True),
        ("127.0.0.9:1", "127.0.0.9", 1, True),
        ("ipv4:127.0.0.1:1", "127.0.0.1", 1, True),
        ("ipv6:[::1]:1", "::1", 1, True),
        ("[::1]:7", "::1", 7, True),
        ("dns:///localhost:5", "localhost", 5, True),
        ("dns://8.8.8.8/gpu-host:5", "gpu-host", 5, False),
        ("dns:gpu-host:5", "gpu-host", 5, False),
        ("unix:/run/embedd.sock", "", None, True),
        ("unix:///run/embedd.sock", "", None, True),
        ("gpu-host:50051", "gpu-host", 50051, False),
        ("10.0.0.1:50051", "10.0.0.1", 50051, False),
    ],
)
def test_hosts_are_read_out_of_every_form(name, host, port, local):
    target = Target(name, None, ())
    assert (target.host, target.port, target.local) == (host, port, local)


def test_a_name_that_cannot_be_is_unreachable_like_any_other(make_client):
    for name in ("a" * 64 + ".invalid:1", "xn--\u00e9.invalid:1"):
        with pytest.raises(embedd.ServerUnavailable, match="cannot reach"):
            make_client(name).embed_images(b"x", retry_for=0)


def test_only_names_with_several_servers_are_balanced_by_grpc():
    def config(name, addresses=1, own=()):
        target = Target(name, None, own)
        target.addresses = addresses
        return dict(target.options).get("grpc.service_config")

    assert config("gpu:1") is None and config("127.0.0.1:1") is None
    for made in (config("dns:///gpu:1"), config("gpu:1", addresses=2)):
        read = json.loads(made)
        assert [list(policy)[0] for policy in read["loadBalancingConfig"]] == ["weighted_round_robin", "round_robin"]
        assert read["healthCheckConfig"] == {"serviceName": ""}
    assert config("dns:///gpu:1", own=[("grpc.service_config", "{}")]) == "{}"


def test_a_name_that_grpc_balances_works(server, make_client):
    client = make_client(f"dns:///{server.target}")
    assert np.array_equal(client.embed_images(images(100), batch_size=10), vectors(images(100)))


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_server_on_this_machine_is_never_asked_through_a_proxy(server, make_client, monkeypatch, variable):
    monkeypatch.setenv(variable, f"http://{gone()}")
    for one in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
    port = server.target.rpartition(":")[2]
    for target in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert make_client(target).embed_images(b"x").shape == (1, 16)


def test_elsewhere_the_error_names_the_variable(make_client, monkeypatch):
    for one in ("http_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv("https_proxy", f"http://user:secret@{gone()}")
    with pytest.raises(embedd.ServerUnavailable, match="https_proxy=.*no_proxy=192.0.2.1") as caught:
        make_client("192.0.2.1:50051").embed_images(b"x", retry_for=0)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "192.0.2.1")
    assert Target("192.0.2.1:50051", None, ()).proxy() == ""
