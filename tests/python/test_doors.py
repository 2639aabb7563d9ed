# SPDX-License-Identifier: Apache-2.0
"""The other doors of the real server, through the clients that people have: OpenAI's library at --rest, messages of the
Open Inference Protocol at the gRPC port. Vectors are those of EmbedClient."""

import base64
import concurrent.futures
import io
import json
import pathlib
import re
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request
import warnings

import grpc
import numpy as np
import openai
import pytest
import real_server
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from real_server import RealServer

from embedd import EmbedClient

if real_server.missing():
    warnings.warn(f"NOT TESTED against the real server: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = ["a red circle", "", "zwei Kreise \u00fcber einem Quadrat", "blue " * 200]


def pictures():
    """Four files that the demo model reads."""
    files = []
    for i in range(4):
        y, x = np.mgrid[0:90, 0:120]
        pixels = np.stack([(x * (i + 1)) % 256, (y * 2) % 256, (x + y * i) % 256], -1).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        files.append(out.getvalue())
    return files


def data_uri(file):
    return "data:image/png;base64," + base64.b64encode(file).decode()


@pytest.fixture(scope="module")
def server():
    with RealServer("--rest", "127.0.0.1:0", pages=True) as running:
        yield running


def rest_of(server, scheme="http"):
    while not (found := re.search(rf"embeddings at ({scheme}://\S+/v1)/embeddings", "".join(server.log))):
        assert server.running(), "".join(server.log)
        time.sleep(0.05)
    return found[1]


@pytest.fixture(scope="module")
def wanted(server):
    with EmbedClient(server.target) as client:
        return np.asarray(client.embed_images(pictures())), np.asarray(client.embed_texts(TEXTS))


# ---- OpenAI's library -----------------------------------------------------------------------------------------------


def test_openais_library_gets_the_vectors_of_texts_and_pictures(server, wanted):
    with openai.OpenAI(base_url=rest_of(server), api_key="none") as client:
        (model,) = client.models.list().data
        assert client.models.retrieve(model.id).id == model.id
        for encoding in ({}, {"encoding_format": "float"}):  # without a word it asks for base64
            answer = client.embeddings.create(model=model.id, input=TEXTS, **encoding)
            assert [item.index for item in answer.data] == [0, 1, 2, 3] and answer.model == model.id
            rows = np.array([item.embedding for item in answer.data], np.float32)
            assert np.abs(rows - wanted[1]).max() < 1e-6
        files = pictures()
        mixed = [data_uri(files[0]), TEXTS[0], {"image": base64.b64encode(files[1]).decode()}, {"text": TEXTS[2]}]
        rows = np.array([item.embedding for item in client.embeddings.create(model=model.id, input=mixed).data])
        expected = np.stack([wanted[0][0], wanted[1][0], wanted[0][1], wanted[1][2]])
        assert np.abs(rows - expected).max() < 1e-6
        one = client.embeddings.create(model=model.id, input=TEXTS[0]).data
        assert len(one) == 1 and np.abs(np.array(one[0].embedding) - wanted[1][0]).max() < 1e-6
    assert server.metric('embedd_requests_total{method="embeddings",code="OK"}') >= 4


def test_openais_library_reads_the_errors(server):
    with openai.OpenAI(base_url=rest_of(server), api_key="none", max_retries=0) as client:
        model = client.models.list().data[0].id
        with pytest.raises(openai.BadRequestError) as bad:
            client.embeddings.create(model=model, input=[TEXTS[0], {"image": base64.b64encode(b"not one").decode()}])
        assert bad.value.code == "UNSUPPORTED_FORMAT" and bad.value.param == "input[1]"
        with pytest.raises(openai.NotFoundError) as other:
            client.embeddings.create(model="text-embedding-3-small", input="a")
        assert other.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model=model, input=[[1, 2, 3]])


def test_many_clients_at_once_get_their_own_answers(server, wanted):
    with openai.OpenAI(base_url=rest_of(server), api_key="none") as client:
        model = client.models.list().data[0].id

        def call(i):
            rows = client.embeddings.create(model=model, input=[TEXTS[i % 4], data_uri(pictures()[i % 4])]).data
            expected = np.stack([wanted[1][i % 4], wanted[0][i % 4]])
            return np.abs(np.array([r.embedding for r in rows]) - expected).max()

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            assert max(threads.map(call, range(64))) < 1e-6


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out",
         folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_tls_token_and_exposure_are_those_of_listen(tmp_path):
    cert, key = certificate(tmp_path)
    (tmp_path / "tokens").write_text("s3cret\n")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--token-file", str(tmp_path / "tokens"))
    with RealServer("--rest", "127.0.0.1:0", *flags, wait=False) as server:
        trust = ssl.create_default_context(cafile=str(cert))
        base = rest_of(server, "https")

        def status(token, body=None):
            request = urllib.request.Request(base + "/models" if body is None else base + "/embeddings", data=body)
            if token:
                request.add_header("Authorization", "Bearer " + token)
            try:
                with urllib.request.urlopen(request, context=trust, timeout=60) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)

        while (answer := status("s3cret"))[0] == 503:
            pass
        assert answer[0] == 200
        assert status("wrong")[0] == 401 and status("")[0] == 401
        # Larger than a TLS record and than the kernel's buffers, both ways.
        many = json.dumps({"input": [data_uri(pictures()[0])] * 300}).encode()
        code, rows = status("s3cret", many)
        assert code == 200 and len(rows["data"]) == 300
        with pytest.raises((urllib.error.URLError, ConnectionError)):  # no TLS: no answer
            urllib.request.urlopen(base.replace("https", "http") + "/models", timeout=20)
    refused = subprocess.run(
        [real_server.BINARY, "--model", real_server.MODEL, "--rest", "0.0.0.0:0", "--http", "off"],
        capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "--rest 0.0.0.0:0 can be reached from other machines" in refused.stderr


# ---- Open Inference Protocol ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def protocol(tmp_path_factory):
    """The messages, made from the .proto file."""
    file = tmp_path_factory.mktemp("proto") / "all.binpb"
    buf = ROOT / ".venv" / "bin" / "buf"
    subprocess.run([buf, "build", ROOT / "proto", "-o", file], check=True, capture_output=True)
    pool = descriptor_pool.DescriptorPool()
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        if proto.package == "inference":
            pool.Add(proto)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName("inference." + name))


def call(channel, protocol, method, request):
    return channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=protocol(method + "Response").FromString)(request, timeout=120)


def infer(protocol, model, name, datatype, shape, raw):
    request = protocol("ModelInferRequest")(model_name=model, raw_input_contents=[raw])
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    return request


def rows_of(answer):
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)


def test_the_inference_protocol_gets_the_vectors_of_files_pixels_and_texts(server, protocol, wanted):
    with grpc.insecure_channel(server.target) as channel:
        with EmbedClient(server.target) as client:
            model = client.server_info().model.name
            pixels = np.random.default_rng(1).integers(0, 256, (3, 70, 50, 3), np.uint8)
            of_pixels = np.asarray(client.embed_images(list(pixels)))
        assert call(channel, protocol, "ServerReady", protocol("ServerReadyRequest")()).ready
        assert call(channel, protocol, "ModelReady", protocol("ModelReadyRequest")(name=model)).ready
        about = call(channel, protocol, "ModelMetadata", protocol("ModelMetadataRequest")(name=model))
        assert [tensor.name for tensor in about.inputs] == ["image", "text"]
        assert about.outputs[0].shape == [-1, wanted[0].shape[1]]

        def packed(elements):
            return b"".join(struct.pack("<I", len(e)) + e for e in elements)

        for request, expected in (
                (infer(protocol, model, "image", "BYTES", [4], packed(pictures())), wanted[0]),
                (infer(protocol, model, "text", "BYTES", [4], packed(t.encode() for t in TEXTS)), wanted[1]),
                (infer(protocol, model, "image", "UINT8", pixels.shape, pixels.tobytes()), of_pixels)):
            assert np.abs(rows_of(call(channel, protocol, "ModelInfer", request)) - expected).max() < 1e-6
        with pytest.raises(grpc.RpcError) as bad:
            call(channel, protocol, "ModelInfer", infer(protocol, model, "image", "BYTES", [2],
                                                        packed([pictures()[0], b"not one"])))
        assert bad.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "inputs[1]: UNSUPPORTED_FORMAT" in bad.value.details()
