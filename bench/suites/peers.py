# SPDX-License-Identifier: Apache-2.0
"""The server and its peers under the same load: same models, same pictures, 1, 4 and 16 callers with 16 images a call.

Peers are those that bench/peers/setup installed. Every contender of a round gets the same closed loop, one connection a
caller, from the same Python load generator; CPU time is that of the server's processes alone. A contender starts, is
measured with every kind of image, and stops; then the next; then the next round.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

from . import inputs
from .common import ROOT, Figure, Settings, Worker, cpu_seconds, embedd, resident_bytes

_PEERS = ROOT / "bench/peers"
_IMAGES = 16


def python(peer: str) -> pathlib.Path:
    """The interpreter of a peer's environment; that of .venv for what needs nothing more."""
    if peer in ("open_clip", "loop", "pool", "plain_grpc"):
        return ROOT / ".venv/bin/python"
    env = ROOT / "build/peers" / peer
    return env / "bin/python" if (env / ".done").exists() else env / "not-installed"


# ---- callers: each answers one call, given as the list of its images ----

def _grpc_caller(port: int):
    import grpc
    from embedd.v1 import embedding_service_pb2 as pb

    channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1),
                                                          ("grpc.max_receive_message_length", -1)])
    send = channel.unary_unary("/embedd.v1.EmbeddingService/EmbedBatch")

    def prepare(images: list[bytes]) -> bytes:
        request = pb.EmbedBatchRequest()
        for image in images:
            if len(image) == 3 * 224 * 224:
                request.inputs.add().raw_image.MergeFrom(pb.RawImage(width=224, height=224, rgb=image))
            else:
                request.inputs.add().image = image
        return request.SerializeToString()

    return prepare, lambda body: send(body, timeout=600)


def _http_caller(port: int, path: str, content: str, pack):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def send(body: bytes) -> bytes:
        connection.request("POST", path, body, {"Content-Type": content})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {answer[:200]!r}")
        return answer

    return pack, send


def _json_body(images: list[bytes]) -> bytes:
    return json.dumps({"images": [base64.b64encode(image).decode() for image in images]}).encode()


# ---- contenders ----

class _Server:
    """A peer's process, ready when it answers a call."""

    def __init__(self, command: list, caller, env: dict | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        words = [str(word).replace("PORT", str(self.port)) for word in command]
        self.log = ROOT / "build/bench/peer.log"
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=self.log.open("w"), stderr=subprocess.STDOUT,
                                         env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid = self._process.pid
        self._caller = caller
        end = time.monotonic() + 180
        while True:
            try:
                prepare, send = self.caller()
                return send(prepare(inputs.call("raw", 1))) and None
            except Exception as error:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.stop()
                    raise RuntimeError(f"the peer did not start: {error}\n{self.log.read_text()[-2000:]}") from error
                time.sleep(0.5)

    def caller(self):
        return self._caller(self.port)

    def stop(self) -> None:
        """The whole session: workers that outlive their parent too."""
        for signal in (15, 9):
            try:
                os.killpg(self.pid, signal)
            except ProcessLookupError:
                return
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                continue


class _Embedd:
    def __init__(self, model: pathlib.Path) -> None:
        self._server = embedd(model)
        self.pid = self._server.pid

    def caller(self):
        return _grpc_caller(int(self._server.grpc.rpartition(":")[2]))

    def stop(self) -> None:
        self._server.stop()


def _start(name: str, model: pathlib.Path):
    if name == "embedd":
        return _Embedd(model)
    own = [python(name), _PEERS / f"{name}_app.py", "--model", model, "--port", "PORT"]
    if name == "plain_grpc":
        return _Server([python(name), _PEERS / "plain_grpc.py", "--model", model, "--port", "PORT"], _grpc_caller)
    if name == "litserve":
        return _Server(own, lambda port: _http_caller(port, "/predict", "application/json", _json_body))
    raise ValueError(name)


def _measure(server, kind: str, callers: int, seconds: float) -> dict:
    """A closed loop: what it did, in the words of bench/peers/loop.py."""
    images = inputs.call(kind, 2 if kind == "12mp" else _IMAGES)
    latencies, errors = [], []
    made = [server.caller() for _ in range(callers)]
    bodies = [prepare(images) for prepare, _ in made[:1]] * callers
    made[0][1](bodies[0])
    start = time.monotonic()

    def loop(send, body) -> None:
        while time.monotonic() - start < seconds:
            began = time.monotonic()
            try:
                send(body)
                latencies.append(time.monotonic() - began)
            except Exception as error:
                errors.append(error)

    cpu = cpu_seconds(server.pid)
    threads = [threading.Thread(target=loop, args=(send, body)) for (_, send), body in zip(made, bodies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"images": len(latencies) * len(images), "seconds": time.monotonic() - start,
            "cpu": cpu_seconds(server.pid) - cpu, "latencies": latencies, "errors": len(errors),
            "memory": resident_bytes(server.pid)}


def _summary(run: dict) -> dict:
    ordered = sorted(run["latencies"])
    at = lambda share: round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)  # noqa: E731
    return {"images_per_second": round(run["images"] / run["seconds"], 2), "p50_ms": at(0.5), "p99_ms": at(0.99),
            "cpu_seconds_per_1000_images": round(1e3 * run["cpu"] / run["images"], 2), "errors": run["errors"],
            "memory_mib": run.get("memory", 0) >> 20}


def _contest(name: str, model: pathlib.Path, cells: list[tuple[str, int]], seconds: float) -> dict[str, dict]:
    """One contender through all cells (kind of image, callers)."""
    done = {}
    if name in ("loop", "pool"):
        command = [python(name), _PEERS / "loop.py", "--model", model] + (["--decoders", os.cpu_count()] if name == "pool" else [])
        with Worker(*command) as worker:
            for kind, callers in cells:
                if callers == 1:
                    done[f"{kind} x{callers}"] = _summary(worker.ask(f"{kind} {2 if kind == '12mp' else _IMAGES} {seconds}"))
        return done
    server = _start(name, model)
    try:
        for kind, callers in cells:
            done[f"{kind} x{callers}"] = _summary(_measure(server, kind, callers, seconds))
    finally:
        server.stop()
    return done


NAMES = ("embedd", "loop", "pool", "plain_grpc", "litserve")


def _best(rounds: list[dict], kind: str, field: str, high: bool) -> dict[str, list[float]]:
    """For each contender its best cell of a kind in every round."""
    best: dict[str, list[float]] = {}
    for done in rounds:
        for name, cells in done.items():
            values = [cell[field] for key, cell in cells.items() if key.startswith(kind + " ")]
            if values:
                best.setdefault(name, []).append(max(values) if high else min(values))
    return best


def _against_best(values: dict[str, list[float]], high: bool) -> Figure:
    """embedd against the best peer, round by round."""
    others = {name: statistics.median(own) for name, own in values.items() if name != "embedd"}
    peer = (max if high else min)(others, key=others.get)
    text = ", ".join(f"{name} {statistics.median(own):.4g}" for name, own in values.items())
    pair = (values["embedd"], values[peer]) if high else (values[peer], values["embedd"])
    return Figure.ratio(*pair, f"best peer {peer}; {text}")


def run(settings: Settings) -> dict[str, Figure]:
    names = [name for name in NAMES if name == "embedd" or python(name).exists()]
    vit_cells = [("jpeg", callers) for callers in (1, 4, 16)]
    tiny_cells = [("jpeg", 1), ("jpeg", 4), ("jpeg", 16), ("12mp", 4), ("12mp", 1), ("raw", 1), ("raw", 4), ("raw", 16)]
    rounds: dict[str, list[dict]] = {"vit-b-32": [], "tiny": []}
    for _ in range(max(2, settings.rounds - 2)):
        for model, cells, seconds in (("vit-b-32", vit_cells, 2 * settings.seconds), ("tiny", tiny_cells, settings.seconds)):
            done = {}
            for name in names:
                try:
                    done[name] = _contest(name, inputs.model(model), cells, seconds)
                except RuntimeError as error:
                    print(f"  {name}: {error}", flush=True)
            rounds[model].append(done)
    (ROOT / "bench/results").mkdir(exist_ok=True)
    (ROOT / "bench/results/peers.json").write_text(json.dumps(rounds, indent=1) + "\n")
    cpu = "cpu_seconds_per_1000_images"
    figures = {"vit_jpeg": _against_best(_best(rounds["vit-b-32"], "jpeg", "images_per_second", True), True)}
    figures["vit_jpeg"].note += " images/s"
    for kind in inputs.KINDS:
        figures[f"tiny_{kind}"] = _against_best(_best(rounds["tiny"], kind, cpu, False), False)
        figures[f"tiny_{kind}"].note += " CPU s per 1,000 images"
    return figures
