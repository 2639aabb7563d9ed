# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: a slow model, a server that can be weighed, load, calls of a known answer."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import urllib.request
import warnings
from typing import Callable, Optional

import grpc
import numpy as np
import pytest
from safetensors.numpy import save_file

import real_server
from embedd.v1 import embedding_service_pb2 as pb
from embedd.v1 import embedding_service_pb2_grpc as pb_grpc
from embedd.v1 import rpc_status_pb2
from real_server import BINARY, MODEL, RealServer  # noqa: F401

NIGHTLY = os.environ.get("EMBEDD_NIGHTLY", "") not in ("", "0")
MIB = 1 << 20

if real_server.missing():
    warnings.warn(f"NOT TESTED under load: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)


def write_slow_model(folder: pathlib.Path) -> pathlib.Path:
    """A vision transformer with random weights: small pictures (64x64), much to compute."""
    side, patch, width, layers, out = 64, 8, 256, 4, 64
    tokens = (side // patch) ** 2 + 1
    rng = np.random.default_rng(0)

    def spread(*shape):
        return (rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    tensors = {
        "class_embedding": spread(width, 1)[:, 0],
        "positional_embedding": spread(tokens, width),
        "conv1.weight": spread(width, 3, patch, patch),
        "proj": spread(width, out),
    }
    for norm in ("ln_pre", "ln_post"):
        tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}."
        for norm in ("ln_1", "ln_2"):
            tensors[f"{block}{norm}.weight"] = np.ones(width, np.float32)
            tensors[f"{block}{norm}.bias"] = np.zeros(width, np.float32)
        for name, rows, columns in (
            ("attn.in_proj_", 3 * width, width),
            ("attn.out_proj.", width, width),
            ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
        ):
            tensors[f"{block}{name}weight"] = spread(rows, columns)
            tensors[f"{block}{name}bias"] = np.zeros(rows, np.float32)
    save_file({f"visual.{name}": tensor for name, tensor in tensors.items()}, folder / "open_clip_model.safetensors")
    vision = {"image_size": side, "patch_size": patch, "width": width, "layers": layers, "head_width": 64}
    text = {"context_length": 24, "vocab_size": 1000, "width": 64, "heads": 1, "layers": 1}
    config = {
        "model_cfg": {"embed_dim": out, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


class Server(RealServer):
    """A server whose memory, descriptors and gauges a test can ask for. One thread computes: the other core is for those
    who ask."""

    def __init__(self, *flags: str, **keywords) -> None:
        super().__init__("--threads", "1", *flags, pages=True, **keywords)

    def channel(self, **options) -> grpc.Channel:
        """A connection of its own."""
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
        return grpc.insecure_channel(self.target, options=own + list(options.items()))

    def resident(self) -> int:
        return self._status("VmRSS")

    def peak_resident(self) -> int:
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """The peak counts from now on."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def histogram(self, series: str) -> dict:
        """Cumulative counts of a histogram by upper bound; `series` has the labels, if any: name{a="b"."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(series) and 'le="' in line]
        return {float(line.partition('le="')[2].partition('"')[0]): float(line.rpartition(" ")[2]) for line in found}

    def images(self, outcome: str) -> int:
        return int(self.metric(f'embedd_images_total{{outcome="{outcome}"}}', absent=0))

    def all_images(self) -> int:
        return sum(map(self.images, ("ok", "rejected", "refused", "expired", "cancelled", "failed")))

    def expect_rest(self) -> None:
        """Waits until nothing is queued; then every gauge must be at 0."""
        wait_for(lambda: self.metric("embedd_queue_images") == 0, "the queue does not empty")
        assert self.metric("embedd_queue_bytes") == 0
        assert self.metric("embedd_batch_unreleased_bytes") == 0

    def _status(self, key: str) -> int:
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"the system does not tell {key}")


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    """Waits until `condition` holds; fails with `otherwise`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


class Load:
    """`embedctl bench` at work; `result()` waits for it and gives what it saw."""

    def __init__(self, server: Server, *flags: str, seconds: float, timeout: str = "30s") -> None:
        command = [str(BINARY.with_name("embedctl")), "--target", server.target, "--timeout", timeout, "bench", "--json",
                   "--warmup", "0s", "--duration", f"{seconds}s", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self) -> dict:
        out, err = self._process.communicate(timeout=300)
        assert self._process.returncode in (0, 1), err
        return json.loads(out)


def health(channel: grpc.Channel, timeout: float = 30) -> str:
    """What grpc.health.v1 says of the server."""
    check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda _: b"", bytes)
    names = {b"": "UNKNOWN", b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}  # field 1, an enum
    return names[check(None, timeout=timeout)]


def percentile(before: dict, after: dict, share: float) -> float:
    """The upper bound below which `share` of what came between two looks at a histogram lies."""
    counts = {bound: after[bound] - before.get(bound, 0) for bound in sorted(after)}
    return next(bound for bound, count in counts.items() if count >= share * max(counts.values()))


def stub(channel: grpc.Channel) -> pb_grpc.EmbeddingServiceStub:
    return pb_grpc.EmbeddingServiceStub(channel)


def picture(number: int, side: int = 64) -> pb.Input:
    """A raw picture that tells its number apart from all others."""
    rgb = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
    return pb.Input(raw_image=pb.RawImage(width=side, height=side, rgb=rgb.tobytes()), id=str(number))


def request(*numbers: int, side: int = 64, **fields) -> pb.EmbedBatchRequest:
    return pb.EmbedBatchRequest(inputs=[picture(number, side) for number in numbers], **fields)


def rows(response: pb.EmbedBatchResponse) -> np.ndarray:
    return np.frombuffer(response.data, "<f4").reshape(-1, response.dimension)


def reason(error: grpc.RpcError) -> str:
    """The word of embedd behind a failed call; "" when there is none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in rpc_status_pb2.Status.FromString(value).details:
                if detail.type_url.endswith("google.rpc.ErrorInfo"):
                    return rpc_status_pb2.ErrorInfo.FromString(detail.value).reason
    return ""


def pushback(error: grpc.RpcError) -> Optional[float]:
    """Seconds after which the server asks to try again."""
    value = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    return None if value is None else int(value) / 1000


def figure(text: str) -> None:
    """A measured value, for docs/reliability.md; seen with pytest -s."""
    print(f"\n    {text}", end="")
