# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: two clients with one face, the drop-in module, stubs, what it needs and what not."""

import asyncio
import inspect
import pathlib
import pickle
import shutil
import subprocess
import sys

import grpc
import numpy as np
import pytest

import embedd
from embedd import aio
from fake_server import FakeServer, vectors

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "client" / "python"


def public(kind):
    return {name: member for name, member in vars(kind).items() if not name.startswith("_") or name == "__init__"}


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    ours, theirs = public(embedd.EmbedClient), public(aio.EmbedClient)
    assert set(ours) == set(theirs)
    for name, member in ours.items():
        if isinstance(member, property):
            continue
        here, there = (inspect.signature(one).parameters for one in (member, theirs[name]))
        assert list(here) == list(there), name
        for one, other in zip(here.values(), there.values()):
            assert (one.kind, one.default) == (other.kind, other.default), f"{name}({one.name})"
        if name not in ("__init__", "embed_stream", "embed_texts_stream"):
            assert inspect.iscoroutinefunction(theirs[name]), name


def test_everything_public_is_documented():
    for kind in (embedd.EmbedClient, aio.EmbedClient):
        for name, member in public(kind).items():
            assert name == "__init__" or inspect.getdoc(member), f"{kind}.{name}"
    for name in embedd.__all__:
        assert name.startswith("__") or inspect.getdoc(getattr(embedd, name)), name


def test_the_drop_in_module_gives_lists_of_floats(server, monkeypatch):
    monkeypatch.setenv("EMBEDD_TARGET", server.target)
    monkeypatch.setattr(embedd, "_default", None)
    import embedding_service

    got = embedding_service.embed_images_batch([b"a", b"b"])
    assert isinstance(got, list) and isinstance(got[0], list) and isinstance(got[0][0], float)
    assert np.array_equal(np.array(got, np.float32), vectors([b"a", b"b"]))
    assert embedd.default_client() is embedd.default_client()
    embedd.default_client().close()
    monkeypatch.setattr(embedd, "_default", None)


def test_one_asyncio_client_serves_several_event_loops(server):
    client = aio.EmbedClient(server.target)

    async def once():
        return await client.embed_images([b"a"])

    for _ in range(3):
        assert np.array_equal(asyncio.run(once()), vectors([b"a"]))
    assert len(client._connections) == 1  # those of loops that are over are gone
    assert pickle.loads(pickle.dumps(client)).target == server.target


def test_asyncio_takes_asynchronous_iterators(server):
    async def source():
        for number in range(500):
            await asyncio.sleep(0)
            yield b"image-%d" % number

    async def main():
        async with aio.EmbedClient(server.target) as client:
            rows = await client.embed_images(source(), batch_size=30)
            streamed = [result.vector async for result in client.embed_stream(source())]
            many = await asyncio.gather(*(client.embed_images([b"%d" % number]) for number in range(50)))
            return rows, np.stack(streamed), np.concatenate(many)

    rows, streamed, many = asyncio.run(main())
    expected = vectors([b"image-%d" % number for number in range(500)])
    assert np.array_equal(rows, expected) and np.array_equal(streamed, expected)
    assert np.array_equal(many, vectors([b"%d" % number for number in range(50)]))


def test_cancelling_an_asyncio_call_ends_it(server):
    import threading

    release = threading.Event()
    server.before = lambda request: release.wait(20)

    async def main():
        async with aio.EmbedClient(server.target) as client:
            task = asyncio.ensure_future(client.embed_images([b"x"] * 200, batch_size=10))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]

    left = asyncio.run(main())
    release.set()
    assert left == []


def test_importing_the_package_needs_neither_pillow_nor_tqdm():
    code = (
        "import sys; sys.modules['PIL'] = None; sys.modules['tqdm'] = None; import embedd, embedd.aio, "
        "embedding_service; print(embedd.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == embedd.__version__


def test_the_package_says_that_it_is_typed_and_ships_its_stubs():
    source = PACKAGE / "src" / "embedd"
    assert (source / "py.typed").exists()
    for name in (
        "embedding_service_pb2.py",
        "embedding_service_pb2.pyi",
        "embedding_service_pb2_grpc.py",
        "rpc_status_pb2.py",
        "rpc_status_pb2.pyi",
    ):
        assert (source / "v1" / name).exists()


def test_the_stubs_describe_the_protos_of_the_tree(tmp_path):
    grpc_tools = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    from google.protobuf import descriptor_pb2

    from embedd.v1 import embedding_service_pb2, rpc_status_pb2

    for module, name in ((embedding_service_pb2, "embedding_service"), (rpc_status_pb2, "rpc_status")):
        out = tmp_path / name
        proto = ROOT / "proto" / "embedd" / "v1" / f"{name}.proto"
        assert grpc_tools.main(["", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={out}", str(proto)]) == 0
        compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
        checked_in = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(checked_in)
        compiled.ClearField("source_code_info")
        for field in list(compiled.message_type):
            for one in field.field:
                one.ClearField("json_name")
        assert [one.name for one in compiled.message_type] == [one.name for one in checked_in.message_type]
        for one, other in zip(compiled.message_type, checked_in.message_type):
            assert [(field.name, field.number, field.type) for field in one.field] == [
                (field.name, field.number, field.type) for field in other.field
            ], one.name


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost and its key: cert.pem and key.pem in a folder."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem"
    command += " -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), check=True, capture_output=True, cwd=folder)
    return folder


def test_tls_and_mutual_tls_work(certificate):
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    pair = [(key.read_bytes(), cert.read_bytes())]
    with FakeServer(credentials=grpc.ssl_server_credentials(pair)) as server:
        with embedd.EmbedClient(server.target, tls=cert) as client:
            assert client.embed_images(b"x").shape == (1, 16)
    mutual = grpc.ssl_server_credentials(pair, cert.read_bytes(), require_client_auth=True)
    with FakeServer(credentials=mutual) as server:
        with embedd.EmbedClient(f"grpcs://{server.target}", tls={"ca": cert, "cert": cert, "key": key}) as client:
            assert client.embed_images(b"x").shape == (1, 16)
        with embedd.EmbedClient(server.target, tls={"ca": cert.read_bytes()}) as client:
            with pytest.raises(embedd.ServerUnavailable):
                client.embed_images(b"x", retry_for=0)


def test_where_the_sides_do_not_agree_on_tls_the_error_says_how(certificate, make_client, tmp_path):
    """The server is at one of localhost's two addresses, and gRPC reports that the other one refuses."""
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    other = tmp_path / "other.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other -keyout"
    subprocess.run([*command.split(), str(tmp_path / "k"), "-out", str(other)], check=True, capture_output=True)
    pair = [(key.read_bytes(), cert.read_bytes())]

    def told(target, **keywords):
        with pytest.raises(embedd.ServerUnavailable) as caught:
            make_client(target, **keywords).embed_images(b"x", retry_for=0)
        assert "refused" not in str(caught.value)
        return str(caught.value)

    with FakeServer(host="127.0.0.1", credentials=grpc.ssl_server_credentials(pair)) as server:
        assert "127.0.0.1" in told(server.target) and "speaks TLS, and this client does not" in told(server.target)
        assert "certificate that is not accepted" in told(server.target, tls=other)
        assert make_client(server.target, tls=cert).embed_images(b"x").shape == (1, 16)
    with FakeServer(host="127.0.0.1") as server:
        assert "speaks no TLS" in told(server.target, tls=cert) and "speaks no TLS" in told(f"grpcs://{server.target}")


def test_a_file_that_holds_no_certificate_is_named(certificate, server, make_client):
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    for tls, says in (
        (key, "key.pem holds no CERTIFICATE"),
        ({"ca": b"nothing"}, "what was passed holds no CERTIFICATE"),
        ({"cert": cert, "key": cert}, "cert.pem holds no PRIVATE KEY"),
    ):
        with pytest.raises(ValueError, match=says):
            make_client(server.target, tls=tls).embed_images(b"x")


@pytest.mark.parametrize("tls, error", [({"pem": "x"}, ValueError), ({"cert": "x"}, ValueError), (3, TypeError)])
def test_wrong_tls_arguments_are_refused_at_once(tls, error):
    with pytest.raises(error):
        embedd.EmbedClient("localhost:1", tls=tls)
