# SPDX-License-Identifier: Apache-2.0
"""A device that is lost, end to end: callers hear DEVICE_FAILED, health turns, exit code 5, and the supervisor's next
process serves. The program is embedd on a fake MPS (tests/fake_mps/fake_mps_program.cc): main and everything else are the
real ones; some pictures make the device fail.

Skips aloud when the program is not built (EMBEDD_BUILD_DIR names another build folder).
"""

import configparser
import os
import plistlib
import re
import shutil
import subprocess
import threading
import time
import warnings

import grpc
import numpy as np
import pytest

import real_server
from embedd import EmbedClient
from embedd.v1 import embedding_service_pb2 as pb
from embedd.v1 import embedding_service_pb2_grpc as pb_grpc
from embedd.v1 import rpc_status_pb2 as wire

PROGRAM = real_server.BUILD / "bin" / "embedd_fake_mps"
DEPLOY = real_server.ROOT / "docs" / "deploy"
UNIT = DEPLOY / "systemd" / "embedd.service"
if not PROGRAM.exists():
    warnings.warn(f"NOT TESTED, the loss of a device: {PROGRAM} is not built", stacklevel=1)
    pytest.skip(f"{PROGRAM} is not built", allow_module_level=True)

BROKEN_FOR_GOOD, GARBAGE_COUNTERS, FAILING_KERNEL, HANG = 250, 251, 252, 253
SIDE, DIMENSION = 64, 128  # of models/demo
LIMIT = 330 << 20  # room for batches of 32 of what the fake takes
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def unit_settings():
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


class Supervisor:
    """Starts the program again as the systemd unit says, without its pause. `codes`: exit codes so far."""

    def __init__(self, address, *flags, env=None):
        service = unit_settings()
        assert service["Restart"] == "on-failure"
        self._final = {0, *map(int, service["RestartPreventExitStatus"].split())}
        self._command = [
            str(PROGRAM), "--model", str(real_server.MODEL), "--device", "mps", "--listen", address, "--http", "off",
            "--log-format", "text", *flags,
        ]
        self._env = env
        self.codes, self.log, self._stopping = [], [], False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def _supervise(self):
        while not self._stopping:
            self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env=self._env)
            for line in self._process.stderr:
                with self._changed:
                    self.log.append(line)
                    self._changed.notify_all()
            self._process.stderr.close()
            with self._changed:
                self.codes.append(self._process.wait())
                self._changed.notify_all()
            if self.codes[-1] in self._final:
                return

    def wait_for_end(self, number=1, seconds=120):
        """The exit code of the `number`-th process."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.codes) >= number, seconds), "".join(self.log[-20:])
            return self.codes[number - 1]

    def wait_for_line(self, text, seconds=60):
        with self._changed:
            assert self._changed.wait_for(lambda: self.logged(text), seconds)

    def signal(self):
        """SIGTERM to the process that runs now."""
        self._process.terminate()

    def logged(self, text):
        return [line for line in self.log if text in line]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._stopping = True
        while self._thread.is_alive():  # it may be between two processes
            self._process.terminate()
            self._thread.join(1)


@pytest.fixture
def address(tmp_path):
    return f"unix:{tmp_path}/embedd.sock"


def picture(value):
    return np.full((SIDE, SIDE, 3), value, dtype=np.uint8)


def vector(value):
    """What the fake's model says about `picture(value)`."""
    row = np.arange(DIMENSION, dtype=np.float32) + value + 1
    return row / np.linalg.norm(row)


def call(address, values, timeout=60):
    """One EmbedBatch, not retried. Raises grpc.RpcError."""
    request = pb.EmbedBatchRequest()
    for value in values:
        raw = request.inputs.add().raw_image
        raw.width = raw.height = SIDE
        raw.rgb = picture(value).tobytes()
    with grpc.insecure_channel(address) as channel:
        return pb_grpc.EmbeddingServiceStub(channel).EmbedBatch(request, timeout=timeout)


def reason(error):
    status = wire.Status.FromString(dict(error.trailing_metadata()).get("grpc-status-details-bin", b""))
    details = [wire.ErrorInfo.FromString(d.value) for d in status.details if d.type_url.endswith("google.rpc.ErrorInfo")]
    return details[0].reason if details else ""


def wait_ready(address):
    with EmbedClient(address) as client:
        client.wait_ready(real_server.START_SECONDS)


def test_garbage_counters_are_noticed_within_one_batch_and_the_next_process_serves(address):
    """After 200 calls of random sizes under a limit that half of the largest batch fits under; as after the fork() that this
    project began with."""
    rng = np.random.default_rng(4)
    with Supervisor(address, "--memory-limit", str(LIMIT), "--latency-target", "0") as supervisor:
        wait_ready(address)
        with EmbedClient(address) as client:
            for _ in range(200):
                values = rng.integers(0, 200, rng.integers(1, 65))
                rows = client.embed_images([picture(v) for v in values], batch_size=64)
                assert np.abs(rows - np.stack([vector(v) for v in values])).max() < 1e-6
            with pytest.raises(grpc.RpcError) as failed:
                call(address, [GARBAGE_COUNTERS])
            assert failed.value.code() == grpc.StatusCode.UNAVAILABLE
            assert reason(failed.value) == "DEVICE_FAILED"
            assert supervisor.wait_for_end() == 5
            # The same client, through the restart: it waits and goes on.
            assert np.abs(client.embed_images([picture(7)])[0] - vector(7)).max() < 1e-6
        assert supervisor.codes == [5]
        assert supervisor.logged("the device's memory counters are garbage")
        assert len(supervisor.logged("a batch failed")) == 1
        assert not supervisor.logged("did not give all of its memory back")
    assert supervisor.codes == [5, 0]


def test_inputs_that_fail_their_batches_do_not_end_the_process(address):
    with Supervisor(address) as supervisor:
        wait_ready(address)
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as failed:
                call(address, [FAILING_KERNEL])
            assert (failed.value.code(), reason(failed.value)) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
        assert len(call(address, [1]).data) == 4 * DIMENSION
    assert supervisor.codes == [0]


def test_a_device_that_fails_every_batch_is_given_up_after_five(address):
    with Supervisor(address) as supervisor:
        wait_ready(address)
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as failed:
                call(address, [BROKEN_FOR_GOOD])
            assert (failed.value.code(), reason(failed.value)) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
        assert supervisor.wait_for_end() == 5
        wait_ready(address)
        assert len(call(address, [1]).data) == 4 * DIMENSION
    assert supervisor.codes == [5, 0]


def test_sigterm_while_a_batch_hangs_ends_the_process_in_time_and_callers_are_told(address):
    told = []

    def caller(value):
        with pytest.raises(grpc.RpcError) as failed:
            call(address, [value], timeout=60)
        told.append((failed.value.code(), reason(failed.value)))

    with Supervisor(address, "--drain-timeout", "4s") as supervisor:
        wait_ready(address)
        callers = [threading.Thread(target=caller, args=(value,)) for value in (HANG, 1)]
        callers[0].start()
        supervisor.wait_for_line("the device hangs, as it was told")
        callers[1].start()
        time.sleep(0.5)  # for its image to be queued; were it not, it would hear the same
        start = time.monotonic()
        supervisor.signal()
        assert supervisor.wait_for_end() == 5
        assert time.monotonic() - start < 10  # 4 s, on a busy machine
        for thread in callers:
            thread.join()
    assert told == [(grpc.StatusCode.UNAVAILABLE, "DRAINING")] * 2


def test_an_offload_that_hangs_is_answered_and_ends_the_process(address):
    """Takes 30 s, as the next one."""
    with Supervisor(address, env={**os.environ, "EMBEDD_FAKE_MPS": "offload hangs"}) as supervisor:
        wait_ready(address)
        with grpc.insecure_channel(address) as channel:
            offload = channel.unary_unary("/embedd.v1.AdminService/Offload")
            first, second = offload.future(b"", timeout=100), offload.future(b"", timeout=100)
            for asked in (first, second):
                assert asked.code() == grpc.StatusCode.UNAVAILABLE
                assert reason(asked) == "DEVICE_FAILED"
        assert supervisor.wait_for_end() == 5
        assert supervisor.logged("an offload hangs")
    assert supervisor.codes[0] == 5


def test_a_batch_that_hangs_turns_health_answers_those_who_wait_and_ends_the_process(address):
    """Takes 30 s: a slow batch is no hung one before that."""
    answers = {}

    def caller(name, value):
        try:
            answers[name] = call(address, [value], timeout=120)
        except grpc.RpcError as error:
            answers[name] = error

    with Supervisor(address) as supervisor:
        wait_ready(address)
        with grpc.insecure_channel(address) as channel:
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=120)
            assert next(watch) == SERVING
            callers = [threading.Thread(target=caller, args=pair) for pair in [("hung", HANG), ("waiting", 1), ("too", 2)]]
            callers[0].start()
            supervisor.wait_for_line("the device hangs, as it was told")
            callers[1].start()
            callers[2].start()
            assert next(watch) == NOT_SERVING
            watch.cancel()
        for thread in callers:
            thread.join()
        assert supervisor.wait_for_end() == 5
        assert supervisor.logged("a batch hangs")
        # In the batch, in the next one, in the queue: all hear the same.
        assert {(answers[name].code(), reason(answers[name])) for name in ("hung", "waiting", "too")} == {
            (grpc.StatusCode.UNAVAILABLE, "DEVICE_FAILED")
        }
        wait_ready(address)
        assert len(call(address, [1]).data) == 4 * DIMENSION
    assert supervisor.codes == [5, 0]


@pytest.mark.parametrize("fault, code, said", [("disagrees", 5, "cosine 0.31"), ("damaged", 3, "changed on disk")])
def test_a_device_that_disagrees_with_the_cpu_exits_with_5_and_damaged_weights_with_3(fault, code, said, address):
    command = [str(PROGRAM), "--model", str(real_server.MODEL), "--device", "mps", "--listen", address, "--http", "off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "EMBEDD_FAKE_MPS": fault})
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_launchd_and_compose_start_it_again_after_exit_code_5_too():
    with open(DEPLOY / "launchd" / "dev.embedd.server.plist", "rb") as file:
        assert plistlib.load(file)["KeepAlive"] == {"SuccessfulExit": False}
    assert "restart: on-failure" in (real_server.ROOT / "docker" / "compose.yaml").read_text().split("qdrant:")[0]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_systemd_unit_is_one(tmp_path):
    """The unit as it is, but with a program that exists here."""
    unit = tmp_path / "embedd.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={PROGRAM}", UNIT.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
