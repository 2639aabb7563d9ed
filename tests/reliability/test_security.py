# SPDX-License-Identifier: Apache-2.0
"""Who gets in: TLS, client certificates, tokens, addresses that others can reach. Certificates are made here."""

import io
import shutil
import socket
import subprocess

import grpc
import pytest
from PIL import Image

import embedd
from embedd import EmbedClient
from harness import BINARY, MODEL, Server, health, stub, wait_for

Code = grpc.StatusCode

if shutil.which("openssl") is None:
    pytest.skip("NOT TESTED: openssl makes the certificates and is not installed", allow_module_level=True)


class Authority:
    """Signs certificates for localhost and for clients; everything is PEM files in `folder`."""

    def __init__(self, folder, name):
        self._folder, self.name = folder, name
        self.pem, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                      "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.pem)

    def sign(self, name, days="2"):
        """Certificate and key."""
        cert, key, ask = (self._folder / f"{self.name}-{name}.{end}" for end in ("pem", "key", "csr"))
        extra = self._folder / f"{name}.ext"
        extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", key, "-out", ask)
        self._openssl("x509", "-req", "-in", ask, "-CA", self.pem, "-CAkey", self._key, "-CAcreateserial", "-days", days,
                      "-extfile", extra, "-out", cert)
        return cert, key

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture(scope="module")
def tls_flags(ours):
    cert, key = ours.sign("server")
    return ("--tls-cert", str(cert), "--tls-key", str(key))


def ready(server, **credentials):
    with EmbedClient(server.target, **credentials) as client:
        client.wait_ready(120)


def works(server, **credentials):
    with EmbedClient(server.target, timeout=60, **credentials) as client:
        return client.embed_images(picture_file()).shape == (1, 128)


def picture_file():
    out = io.BytesIO()
    Image.new("RGB", (20, 20), (1, 2, 3)).save(out, "PNG")
    return out.getvalue()


def refused(server, **credentials):
    """What a client is told that may not even connect."""
    with EmbedClient(server.target, timeout=5, **credentials) as client:
        with pytest.raises(embedd.ServerUnavailable) as caught:
            client.embed_images(picture_file(), retry_for=0)
    return str(caught.value)


def test_tls_serves_those_who_trust_the_authority_and_nobody_else(tls_flags, ours, theirs):
    with Server(*tls_flags, model=MODEL, wait=False) as server:
        ready(server, tls=ours.pem)
        assert works(server, tls=ours.pem)
        assert refused(server, tls=theirs.pem)
        assert refused(server)  # plain text
        # An old protocol, or no TLS at all, closes that connection and no other.
        with socket.create_connection(("127.0.0.1", int(server.target.rpartition(":")[2])), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert plain.recv(100)[:1] in (b"", b"\x15")  # closed, or a TLS alert
        assert works(server, tls=ours.pem)
        probe = [str(BINARY.with_name("embedctl")), "--target", server.target, "--tls-ca", str(ours.pem), "probe"]
        assert subprocess.run(probe, timeout=60, capture_output=True).returncode == 0


def test_with_a_client_authority_only_its_certificates_get_in(tls_flags, ours, theirs):
    mine, wrong = ours.sign("client"), theirs.sign("client")
    with Server(*tls_flags, "--tls-client-ca", str(ours.pem), model=MODEL, wait=False) as server:
        good = {"ca": ours.pem, "cert": mine[0], "key": mine[1]}
        ready(server, tls=good)
        assert works(server, tls=good)
        assert refused(server, tls={"ca": ours.pem, "cert": wrong[0], "key": wrong[1]})
        assert refused(server, tls=ours.pem)  # none at all
        assert works(server, tls=good)


def test_wrong_tls_files_end_the_start_with_2_and_are_named(tls_flags, ours, tmp_path):
    other_key = str(ours.sign("other")[1])
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("not a certificate")

    def start(*flags):
        return subprocess.run([str(BINARY), "--model", str(MODEL), "--listen", "127.0.0.1:0", "--http", "off", *flags],
                              capture_output=True, text=True, timeout=60)

    for flags, told in (
        (("--tls-cert", tls_flags[1], "--tls-key", other_key), "--tls-key"),
        (("--tls-cert", str(no_pem), "--tls-key", tls_flags[3]), str(no_pem)),
        ((*tls_flags, "--tls-client-ca", str(no_pem)), str(no_pem)),
        (("--tls-cert", tls_flags[1]), "--tls-key"),
        (("--token-file", str(tmp_path / "nowhere")), "nowhere"),
    ):
        done = start(*flags)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr


def test_tokens_several_at_once_and_read_again_when_the_file_changes(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# yesterday's and today's\nold-token\nnew-token\n")
    with Server("--token-file", str(file), model=MODEL, token="old-token") as server:
        assert works(server, token="old-token") and works(server, token="new-token")
        for wrong in (None, "", "other", "new-toke", "new-token2", "# yesterday's and today's"):
            with EmbedClient(server.target, token=wrong or None) as client, pytest.raises(embedd.Unauthenticated):
                client.embed_images(picture_file())
        file.write_text("new-token\n")

        def old_is_out():
            try:
                return not works(server, token="old-token")
            except embedd.Unauthenticated:
                return True

        wait_for(old_is_out, "a token that was taken out stays valid")
        assert works(server, token="new-token")
        file.unlink()  # a slip of the operator must not lock everybody out, nor let everybody in
        wait_for(lambda: works(server, token="new-token") and "cannot be read again" in "".join(server.log), "no warning")
        with EmbedClient(server.target) as client, pytest.raises(embedd.Unauthenticated):
            client.embed_images(picture_file())


UNARY = ("EmbeddingService/EmbedBatch", "EmbeddingService/GetServerInfo", "AdminService/Offload", "AdminService/Reload")


def test_without_a_token_only_health_answers(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    with Server("--token-file", str(file), model=MODEL, token="secret") as server, server.channel() as channel:
        assert health(channel) == "SERVING"
        for method in UNARY:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/embedd.v1.{method}", bytes, bytes)(b"", timeout=30)
            assert caught.value.code() is Code.UNAUTHENTICATED, method
        with pytest.raises(grpc.RpcError) as caught:
            list(stub(channel).EmbedStream(iter([])))
        assert caught.value.code() is Code.UNAUTHENTICATED
        assert reflection(channel) is Code.UNAUTHENTICATED


def reflection(channel):
    """The code of a reflection call."""
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", bytes, bytes)
    answers = call(iter([b"\x3a\x01*"]), timeout=30)  # list_services: "*"
    try:
        list(answers)
    except grpc.RpcError:
        pass
    return answers.code()


def test_an_address_that_others_reach_needs_tls_or_a_token_or_a_word_and_has_no_reflection(tls_flags, tmp_path, ours):
    file = tmp_path / "token"
    file.write_text("secret\n")
    everywhere = "0.0.0.0:0"
    refused = subprocess.run([str(BINARY), "--model", str(MODEL), "--listen", everywhere, "--http", "off"],
                             capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "--allow-insecure" in refused.stderr
    # What the operator says is enough to get past the check; then each server is asked once.
    with Server("--token-file", str(file), listen=everywhere, model=MODEL, wait=False) as server:
        server.target = server.target.replace("0.0.0.0", "localhost")
        ready(server, token="secret")
        assert works(server, token="secret")
    with Server(*tls_flags, listen=everywhere, model=MODEL, wait=False) as server:
        server.target = server.target.replace("0.0.0.0", "localhost")
        ready(server, tls=ours.pem)
    with Server("--allow-insecure", listen=everywhere, model=MODEL, wait=False) as server, server.channel() as channel:
        assert reflection(channel) is Code.UNIMPLEMENTED
    asked_for = ("--allow-insecure", "--reflection", "on")
    with Server(*asked_for, listen=everywhere, model=MODEL, wait=False) as server, server.channel() as channel:
        assert reflection(channel) is Code.OK
