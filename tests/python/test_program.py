# SPDX-License-Identifier: Apache-2.0
"""The program `embedd` as its operator meets it: exit codes, configuration, drain, a client that is killed, grpcurl.

Skips aloud when the binary is not built (EMBEDD_BUILD_DIR names another build folder).
"""

import base64
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import real_server
from embedd import EmbedClient
from real_server import BINARY, MODEL, RealServer

if real_server.missing():
    warnings.warn(f"NOT TESTED against the real server: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)


def run(*arguments, env=None, timeout=60):
    """The finished program: exit code, stdout, stderr."""
    return subprocess.run(
        [str(BINARY), *arguments], capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}
    )


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_threads_spin_briefly_and_libraries_start_once():
    # A program that replaces itself after its libraries have started takes LibTorch's start, 0.2 s, twice.
    result = run("--version", env={"LD_DEBUG": "libs", "OMP_DISPLAY_ENV": "verbose"})
    assert "GOMP_SPINCOUNT = '2000'" in result.stderr
    starts = [line for line in result.stderr.splitlines() if "calling init:" in line and "libtorch_cpu" in line]
    assert len(starts) == 1
    chosen = run("--version", env={"GOMP_SPINCOUNT": "77", "OMP_DISPLAY_ENV": "verbose"})
    assert "GOMP_SPINCOUNT = '77'" in chosen.stderr


def test_bad_flags_exit_with_2_and_name_the_flag():
    result = run("--model", str(MODEL), "--max-batch", "0")
    assert result.returncode == 2
    assert "--max-batch" in result.stderr
    assert run("--no-such-flag").returncode == 2
    assert run("--model", str(MODEL), "--listen", "0.0.0.0:0").returncode == 2


def test_a_model_that_cannot_be_loaded_exits_with_3_and_names_file_and_key(tmp_path):
    missing = run("--model", str(tmp_path / "nowhere"), "--listen", "127.0.0.1:0", "--http", "off")
    assert missing.returncode == 3
    assert "nowhere" in missing.stderr
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken, ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    config = json.loads((broken / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["no_such_key"] = 1
    (broken / "open_clip_config.json").write_text(json.dumps(config))
    unknown = run("--model", str(broken), "--listen", "127.0.0.1:0", "--http", "off")
    assert unknown.returncode == 3
    assert "open_clip_config.json" in unknown.stderr and "no_such_key" in unknown.stderr


def test_an_address_in_use_exits_with_4_and_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("--model", str(MODEL), "--listen", address, "--http", "off")
        assert result.returncode == 4
        assert address in result.stderr
        result = run("--model", str(MODEL), "--listen", "127.0.0.1:0", "--http", address)
        assert result.returncode == 4


def test_a_device_that_is_not_there_exits_with_5():
    if shutil.which("nvidia-smi"):
        pytest.skip("there is an NVIDIA GPU")
    result = run("--model", str(MODEL), "--device", "cuda", "--listen", "127.0.0.1:0", "--http", "off")
    assert result.returncode == 5
    assert "cuda" in result.stderr


def multiplies_bytes():
    """Whether this processor has one of the features that --dtype int8 needs."""
    try:
        words = pathlib.Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(words)


def test_int8_serves_nearly_the_vectors_of_f32_or_says_what_the_processor_lacks():
    start = ("--model", str(MODEL), "--device", "cpu", "--dtype", "int8", "--listen", "127.0.0.1:0", "--http", "off")
    if not multiplies_bytes():
        refused = run(*start)
        assert refused.returncode == 2
        assert "VNNI" in refused.stderr and "--dtype f32" in refused.stderr
        return
    refused = run(*start, "--int8-min-cosine", "1")
    assert refused.returncode == 3
    assert "--int8-min-cosine" in refused.stderr and "0.99" in refused.stderr
    random = np.random.default_rng(1)
    pictures = [np.kron(random.integers(0, 256, (8, 8, 3), np.uint8), np.ones((12, 12, 1), np.uint8)) for _ in range(16)]
    with RealServer() as f32, RealServer("--dtype", "int8", pages=True) as int8:
        with EmbedClient(f32.target, timeout=120) as exact, EmbedClient(int8.target, timeout=120) as fast:
            assert fast.server_info().dtype == "int8"
            assert fast.server_info().model.fingerprint != exact.server_info().model.fingerprint
            cosines = (exact.embed_images(pictures) * fast.embed_images(pictures)).sum(axis=1)
        assert 0.99 <= cosines.min() < 1 - 1e-8
        assert int8.metric('embedd_int8_cosine{stat="min"}') >= 0.99


@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs LD_PRELOAD and cc")
def test_remedy_6_a_libtorch_that_is_too_old_or_another_exits_with_5_and_says_why(tmp_path):
    def start_with(minor):
        source, library = tmp_path / "version.c", tmp_path / f"version{minor}.so"
        source.write_text(f"unsigned long aoti_torch_abi_version(void) {{ return 2ul << 56 | {minor}ul << 48; }}")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        flags = ("--model", str(MODEL), "--listen", "127.0.0.1:0", "--http", "off")
        return run(*flags, env={"LD_PRELOAD": str(library)})

    old = start_with(12)
    assert old.returncode == 5
    assert "LibTorch 2.12.0 is too old" in old.stderr and "2.13" in old.stderr and "memory" in old.stderr
    other = start_with(99)
    assert other.returncode == 5
    assert "built with LibTorch 2.13" in other.stderr and "finds 2.99.0" in other.stderr


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    file = tmp_path / "embedd.conf"
    file.write_text('max-batch = 8\nqueue-images = 50\nrelease = "idle"\n')
    result = run(
        "--model", str(MODEL), "--config", str(file), "--max-batch", "32", "--print-config",
        env={"EMBEDD_MAX_BATCH": "16", "EMBEDD_QUEUE_IMAGES": "60"},
    )
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "32" in lines["max-batch"] and "flag" in lines["max-batch"]
    assert "60" in lines["queue-images"] and "env" in lines["queue-images"]
    assert "idle" in lines["release"] and "file" in lines["release"]
    assert "default" in lines["drain-timeout"]
    file.write_text("max-btach = 8\n")
    result = run("--model", str(MODEL), "--config", str(file))
    assert result.returncode == 2
    assert "max-btach" in result.stderr and str(file) in result.stderr


def test_sigterm_drains_and_exits_with_0():
    with RealServer() as server:
        with EmbedClient(server.target) as client:
            assert client.embed_images([bytes_of_png()]).shape[0] == 1
        assert server.terminate() == 0
    assert any("drained" in line for line in server.log)


def test_a_unix_socket_serves_too(tmp_path):
    path = tmp_path / "embedd.sock"
    with RealServer(listen=f"unix:{path}") as server:
        assert server.target == f"unix:{path}"
        with EmbedClient(server.target) as client:
            assert client.embed_images([bytes_of_png()]).shape[0] == 1


def test_a_client_that_is_killed_leaves_nothing_behind():
    """kill -9 in the middle of large calls: places and bytes are back to 0."""
    script = (
        "import sys, numpy as np\n"
        "from embedd import EmbedClient\n"
        "images = [np.random.default_rng(i).integers(0, 255, (600, 800, 3), dtype=np.uint8) for i in range(200)]\n"
        "client = EmbedClient(sys.argv[1])\n"
        "print('going', flush=True)\n"
        "while True: client.embed_images(images)\n"
    )
    with RealServer(pages=True) as server:
        clients = [
            subprocess.Popen([sys.executable, "-c", script, server.target], stdout=subprocess.PIPE) for _ in range(2)
        ]
        for client in clients:
            client.stdout.readline()
        end = time.monotonic() + 60
        waiting = 0  # one look counts: between two calls there may be nothing
        while waiting == 0 and time.monotonic() < end:
            waiting = server.metric("embedd_queue_images")
        assert waiting > 0
        for client in clients:
            client.kill()
            client.wait()
            client.stdout.close()
        while server.metric("embedd_queue_images") > 0 and time.monotonic() < end:
            pass
        assert server.metric("embedd_queue_images") == 0
        assert server.metric("embedd_queue_bytes") == 0
        with EmbedClient(server.target) as client:
            assert client.embed_images([bytes_of_png()]).shape[0] == 1
        assert server.metric("embedd_batch_unreleased_bytes") == 0


def test_embedctl_moves_the_weights_off_the_device_and_back():
    embedctl = BINARY.with_name("embedctl")
    if not embedctl.exists():
        pytest.skip(f"{embedctl} is not built")

    def run_ctl(server, command):
        return subprocess.run(
            [str(embedctl), "--target", server.target, command], capture_output=True, text=True, timeout=60
        )

    with RealServer(pages=True) as server:
        model = server.metric('embedd_device_memory_bytes{kind="allocated"}')
        gone = run_ctl(server, "offload")
        assert gone.returncode == 0, gone.stderr
        assert server.metric('embedd_device_memory_bytes{kind="allocated"}') <= 0.01 * model
        assert server.metric('embedd_model_state{state="OFFLOADED"}') == 1
        with EmbedClient(server.target) as client:
            assert client.embed_images([bytes_of_png()]).shape[0] == 1  # still serving: brings them back
        assert server.metric('embedd_model_state{state="READY"}') == 1
        assert run_ctl(server, "offload").returncode == 0
        back = run_ctl(server, "reload")
        assert back.returncode == 0, back.stderr
        assert server.metric('embedd_device_memory_bytes{kind="allocated"}') == model
    with RealServer("--idle-offload", "1s", pages=True) as server:
        end = time.monotonic() + 60
        while server.metric('embedd_model_state{state="OFFLOADED"}') == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert server.metric('embedd_model_state{state="OFFLOADED"}') == 1
        with EmbedClient(server.target) as client:
            assert client.embed_images([bytes_of_png()] * 3).shape[0] == 3


def bytes_of_png():
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (100, 80), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
def test_grpcurl_lists_describes_and_embeds():
    with RealServer() as server:

        def grpcurl(*arguments, data=None):
            command = ["grpcurl", "-plaintext", *(["-d", "@"] if data else []), server.target, *arguments]
            return subprocess.run(command, input=data, capture_output=True, text=True, check=True, timeout=60).stdout

        assert "embedd.v1.EmbeddingService" in grpcurl("list")
        assert "rpc EmbedBatch" in grpcurl("describe", "embedd.v1.EmbeddingService")
        request = json.dumps(
            {"inputs": [{"image": base64.b64encode(bytes_of_png()).decode()}], "encoding": "ENCODING_FLOAT_LIST"}
        )
        answer = json.loads(grpcurl("embedd.v1.EmbeddingService/EmbedBatch", data=request))
        values = answer["vectors"][0]["values"]
        assert len(values) == answer["dimension"]
        assert abs(sum(v * v for v in values) - 1) < 1e-4
        with EmbedClient(server.target) as client:
            ours = client.embed_images([bytes_of_png()])[0]
        assert max(abs(a - b) for a, b in zip(values, ours)) < 1e-6
