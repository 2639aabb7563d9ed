# SPDX-License-Identifier: Apache-2.0
"""Statuses become typed errors whose text says what to do, and which cross process boundaries."""

import pickle
import subprocess
import sys

import grpc
import pytest

import embedd
from embedd import errors
from fake_server import Failure, queue_full

Code = grpc.StatusCode


@pytest.mark.parametrize(
    "failure, kind, reason, says",
    [
        (
            Failure(Code.RESOURCE_EXHAUSTED, "1024 of 1024 images", "QUEUE_FULL", 1500),
            errors.Overloaded,
            "QUEUE_FULL",
            "overloaded: 1024 of 1024 images",
        ),
        (Failure(Code.UNAVAILABLE, "x", "MODEL_LOADING"), errors.ServerUnavailable, "MODEL_LOADING", "wait_ready"),
        (Failure(Code.UNAVAILABLE, "x", "DRAINING"), errors.ServerUnavailable, "DRAINING", "shutting down"),
        (Failure(Code.UNAVAILABLE, "x", "DEVICE_FAILED"), errors.ServerUnavailable, "DEVICE_FAILED", "restarted"),
        (Failure(Code.DEADLINE_EXCEEDED, "x", "DEADLINE"), errors.DeadlineExceeded, "DEADLINE", "longer timeout"),
        (
            Failure(Code.FAILED_PRECONDITION, "x", "MODEL_MISMATCH", metadata={"expected": "a", "actual": "b"}),
            errors.ModelMismatch,
            "MODEL_MISMATCH",
            "another model",
        ),
        (
            Failure(Code.INVALID_ARGUMENT, "inputs[3].raw_image.rgb: 5 bytes"),
            errors.InvalidRequest,
            "",
            r"inputs\[3\].raw_image.rgb",
        ),
        (Failure(Code.UNAUTHENTICATED, "no token"), errors.Unauthenticated, "", "token="),
        (Failure(Code.INTERNAL, "norm is 3", "BAD_OUTPUT"), errors.ServerError, "BAD_OUTPUT", "log"),
        (Failure(Code.INTERNAL, "RST_STREAM"), errors.ServerUnavailable, "TRANSPORT", "broke"),
        (Failure(Code.UNIMPLEMENTED, "x"), errors.InvalidRequest, "", "older"),
    ],
)
def test_every_status_of_the_contract_has_its_type_and_says_what_to_do(
    server, make_client, failure, kind, reason, says
):
    server.script = [failure] * 3
    with pytest.raises(kind, match=says) as caught:
        make_client(server.target).embed_images(b"x", retry_for=0)
    assert type(caught.value) is kind and isinstance(caught.value, embedd.EmbedError)
    assert (caught.value.code, caught.value.reason) == (failure.code, reason)


def test_overloaded_tells_when_to_come_back(server, client):
    server.script = [queue_full(1500)]
    with pytest.raises(embedd.Overloaded) as caught:
        client.embed_images(b"x", retry_for=0)
    assert caught.value.retry_after == 1.5


def test_a_mismatch_names_both_models(server, make_client):
    with pytest.raises(embedd.ModelMismatch) as caught:
        make_client(server.target).embed_images(b"x", expect_fingerprint="other")
    assert (caught.value.expected, caught.value.actual) == ("other", "fp-1")


def test_nobody_at_the_address_is_explained(make_client):
    with pytest.raises(embedd.ServerUnavailable, match="EMBEDD_TARGET"):
        make_client("localhost:1").embed_images(b"x", retry_for=0)


def test_details_that_are_not_ours_do_not_hide_the_error(server, client):
    class Odd(Failure):
        def abort(self, context):
            context.set_trailing_metadata(
                (("grpc-status-details-bin", b"\xff\xff"), ("grpc-retry-pushback-ms", "soon"))
            )
            context.abort(Code.UNAVAILABLE, "odd")

    server.script = [Odd(Code.UNAVAILABLE)]
    with pytest.raises(embedd.ServerUnavailable, match="odd"):  # and an unreadable pushback means: do not retry
        client.embed_images(b"x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.EmbedError("text", reason="R"),
        errors.Overloaded("text", retry_after=1.5, code=Code.RESOURCE_EXHAUSTED, reason="QUEUE_FULL"),
        errors.ImageRejected("text", index=3, source="a.jpg", reason="CORRUPT_IMAGE"),
        errors.ModelMismatch("text", expected="a", actual="b"),
    ],
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and copy.__dict__ == error.__dict__


def test_our_details_do_not_clash_with_googleapis_common_protos():
    pytest.importorskip("google.rpc.error_details_pb2")
    for order in (
        "import embedd; from google.rpc import error_details_pb2, status_pb2",
        "from google.rpc import error_details_pb2, status_pb2; import embedd",
    ):
        subprocess.run([sys.executable, "-c", order], check=True)
