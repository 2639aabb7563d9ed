# SPDX-License-Identifier: Apache-2.0
"""`embedd pull` with the real huggingface_hub (open_clip brings it) against a hub of our own on loopback."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import real_server
from embedd import EmbedClient, pull
from fake_hub import COMMIT, FakeHub

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
NAME = "someone/demo"
LARGE = 25_000_000  # huggingface_hub writes 10 MB at a time


@pytest.fixture
def hub():
    files = {path.name: path.read_bytes() for path in DEMO.iterdir()}
    # What repositories carry besides; none of it is read by the server.
    files.update({"pytorch_model.bin": b"x" * 20_000, "flax_model.msgpack": b"y" * 20_000, "onnx/model.onnx": b"z" * 9})
    with FakeHub({NAME: files}) as running:
        yield running


@pytest.fixture
def start(hub, tmp_path):
    def run(*arguments, **more):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        env = {**keep, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*", **more}
        return subprocess.Popen(
            [sys.executable, "-m", "embedd", "pull", *arguments], env=env, cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return run


@pytest.fixture
def fetch(start):
    def run(*arguments, **more):
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


def same(folder, files, names):
    got = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert got == {name: files[name] for name in names}


def test_only_what_the_server_reads_is_fetched_and_served(hub, fetch, tmp_path):
    done = fetch(NAME)
    assert done.returncode == 0, done.stderr
    names = ["open_clip_config.json", "open_clip_model.safetensors", "vocab.json", "merges.txt"]
    same(tmp_path / "demo", hub.repositories[NAME], names)
    assert sorted(hub.fetched()) == sorted(names)
    assert COMMIT in done.stdout and "4 files, 8.1 MB" in done.stdout
    command = re.search(r"serve it:  embedd (.*)", done.stdout)[1]
    assert command == "--model demo"
    if real_server.missing():
        pytest.skip(real_server.missing())
    with real_server.RealServer(model=tmp_path / "demo") as server, EmbedClient(server.target) as client:
        assert client.embed_texts(["a pink star"]).shape == (1, 128)


def test_a_folder_of_timm_has_no_processor_file(hub, fetch, tmp_path):
    config = json.dumps({"architecture": "vit_base_patch16_224", "pretrained_cfg": {}}).encode()
    files = {"config.json": config, "model.safetensors": b"w" * 9_000, "pytorch_model.bin": b"x" * 9_000, "README.md": b"r"}
    hub.repositories["timm/vit"] = files
    done = fetch("timm/vit")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "vit", files, ["config.json", "model.safetensors"])


def test_a_second_run_fetches_nothing(hub, fetch):
    assert fetch(NAME).returncode == 0
    hub.asked.clear()
    done = fetch(NAME)
    assert done.returncode == 0 and done.stdout.count("is there") == 4
    assert hub.fetched() == []


def test_names_folders_and_revisions(hub, fetch, tmp_path):
    hub.moved["old/name"] = NAME
    done = fetch("old/name", "--to", "a folder/b", "--revision", "v1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a folder/b/open_clip_model.safetensors").exists()
    assert "embedd --model 'a folder/b'" in done.stdout
    done = fetch(NAME, "--revision", "v9")
    assert done.returncode == 1 and "no revision 'v9'" in done.stderr
    done = fetch("someone/else")
    assert done.returncode == 1 and f"is not on {hub.url}" in done.stderr
    assert fetch("a/b/c").returncode == 2 and "Traceback" not in fetch("a/b/c").stderr


def test_a_cut_connection_is_gone_on_with(hub, fetch, tmp_path):
    hub.repositories[NAME]["open_clip_model.safetensors"] = os.urandom(LARGE)
    hub.cuts["open_clip_model.safetensors"] = [12_000_000]
    done = fetch(NAME)
    assert done.returncode == 0, done.stderr
    same(tmp_path / "demo", hub.repositories[NAME],
         ["open_clip_config.json", "open_clip_model.safetensors", "vocab.json", "merges.txt"])  # fmt: skip
    ranges = [one.range for one in hub.asked if one.path.endswith("model.safetensors") and one.method == "GET"]
    assert ranges[0] is None and re.fullmatch(r"bytes=[1-9]\d+-", ranges[-1])


def test_a_killed_run_is_gone_on_with_by_the_next(hub, start, fetch, tmp_path):
    hub.repositories[NAME]["open_clip_model.safetensors"] = os.urandom(LARGE)
    hub.hold["open_clip_model.safetensors"] = 22_000_000
    process = start(NAME)
    part = tmp_path / "demo" / ".pull"
    try:
        assert hub.held.wait(60)
        while not any(p.name.startswith("open_clip_model") and p.stat().st_size for p in part.glob("*")):
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "demo/open_clip_model.safetensors").exists()
    hub.asked.clear()
    done = fetch(NAME)
    assert done.returncode == 0, done.stderr
    assert "went on at" in done.stdout
    asked = [one.range for one in hub.asked if one.path.endswith("model.safetensors") and one.method == "GET"]
    assert re.fullmatch(r"bytes=[12]\d{7}-", asked[-1])
    assert (tmp_path / "demo/open_clip_model.safetensors").read_bytes() == hub.repositories[NAME]["open_clip_model.safetensors"]
    assert not part.exists()


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_other_bytes_than_listed_are_refused_and_not_kept(hub, fetch, tmp_path, file):
    hub.wrong.append(file)
    done = fetch(NAME)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{file} came with other content" in done.stderr
    assert not [p for p in (tmp_path / "demo").rglob("*") if file in p.name]
    hub.wrong.clear()
    assert fetch(NAME).returncode == 0


def test_what_was_begun_with_other_bytes_is_begun_again(hub, fetch, tmp_path):
    assert fetch(NAME).returncode == 0
    whole = tmp_path / "demo/open_clip_model.safetensors"
    content = whole.read_bytes()
    whole.unlink()
    hub.wrong.append(whole.name)
    assert fetch(NAME).returncode == 1
    hub.wrong.clear()
    from hashlib import sha256

    part = tmp_path / "demo/.pull" / f"{whole.name}.{sha256(content).hexdigest()[:16]}"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"\0" * 1000)
    done = fetch(NAME)
    assert done.returncode == 0, done.stderr
    assert whole.read_bytes() == content


def test_a_file_of_the_users_is_not_overwritten(hub, fetch, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/open_clip_config.json").write_text("{}")
    done = fetch(NAME)
    assert done.returncode == 1 and "is another file" in done.stderr and "--to" in done.stderr
    assert (tmp_path / "demo/open_clip_config.json").read_text() == "{}"


def test_a_token_opens_and_goes_to_the_hub_alone(hub, fetch):
    hub.token = "hf_secret"
    done = fetch(NAME)
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr and "Traceback" not in done.stderr
    hub.gated = True
    done = fetch(NAME, HF_TOKEN="hf_other")
    assert done.returncode == 1 and "agreement" in done.stderr
    hub.asked.clear()
    done = fetch(NAME, HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    assert "hf_secret" not in done.stdout + done.stderr
    stored = [one for one in hub.asked if not one.path.startswith("/api/") and "/resolve/" not in one.path]
    assert stored and all(one.token is None for one in stored)


def test_no_hub_is_an_error_of_one_line(fetch):
    done = fetch(NAME, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "run it again" in done.stderr


def test_shards_come_with_their_index(hub, fetch, tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    files = {
        "config.json": b"{}", "preprocessor_config.json": b"{}", "processor_config.json": b"{}", "tokenizer.json": b"{}",
        "special_tokens_map.json": b"{}", "vocab.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(), "model-1.safetensors": b"1" * 20_000,
        "model-2.safetensors": b"2" * 20_000, "model-3.safetensors": b"3",
    }  # fmt: skip
    hub.repositories["a/shards"] = files
    done = fetch("a/shards")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "shards", files, set(files) - {"vocab.json", "model-3.safetensors"})
    for names, said in ((["../up"], "names no shards"), (["model-9.safetensors"], "does not have"), ([], "names no shards")):
        files["model.safetensors.index.json"] = json.dumps({"weight_map": dict(enumerate(names))}).encode()
        done = fetch("a/shards", "--to", f"other-{len(hub.asked)}")
        assert done.returncode == 1 and said in done.stderr


def test_a_sentence_transformers_repository_keeps_its_shape(hub, fetch, tmp_path):
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    files = {
        "modules.json": json.dumps(modules).encode(), "0_CLIPModel/config.json": b"{}",
        "0_CLIPModel/preprocessor_config.json": b"{}", "0_CLIPModel/model.safetensors": b"w" * 20_000, "README.md": b"#",
    }  # fmt: skip
    hub.repositories["st/clip"] = files
    done = fetch("st/clip")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "clip", files, set(files) - {"README.md"})
    files["modules.json"] = b'[{"path": "../../etc"}]'
    done = fetch("st/clip", "--to", "second")
    assert done.returncode == 1 and "does not name the folder" in done.stderr


@pytest.mark.parametrize(
    "files, said",
    [
        (["README.md"], "neither open_clip_config.json nor config.json"),
        (["config.json", "model.safetensors"], "no preprocessor_config.json"),
        (["open_clip_config.json", "tf_model.h5"], "no weights that embedd reads"),
    ],
)
def test_what_is_no_model_for_the_server_is_said_before_anything_is_fetched(hub, fetch, files, said):
    hub.repositories["no/model"] = {name: b"{}" for name in files}
    done = fetch("no/model")
    assert done.returncode == 1 and said in done.stderr and done.stderr.startswith("embedd pull: no/model: ")
    assert set(hub.fetched()) <= {"config.json"}  # which says whether it is timm's


def test_a_plain_timm_folder_needs_no_preprocessor(hub, fetch, tmp_path):
    config = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"input_size": [3, 224, 224]}}
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": b"w" * 20_000, "pytorch_model.bin": b"x"}
    hub.repositories["timm/vit"] = files
    done = fetch("timm/vit")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "vit", files, {"config.json", "model.safetensors"})


def test_every_file_that_the_server_looks_for_is_known_here():
    known = (ROOT / "client/python/src/embedd/pull.py").read_text()
    sources = [*(ROOT / "server/model").glob("*.cc"), *(ROOT / "server/prepare/text").glob("*.cc")]
    for source in sources:
        for name in re.findall(r'"(\w+(?:\.index)?\.(?:json|safetensors|bin|pth|pt|txt|model))"', source.read_text()):
            assert f'"{name}"' in known, f"{source.name} looks for {name}"


def test_the_order_of_weights_is_the_servers():
    text = (ROOT / "server/model/model_folder.cc").read_text()
    lists = {tuple(re.findall(r'"([^"]+)"', block)) for block in re.findall(r"FindFile\(folder, \{([^}]*model[^}]*)\}", text)}
    assert lists == {pull._OPEN_CLIP_WEIGHTS, pull._HF_WEIGHTS}


def test_without_huggingface_hub_it_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['huggingface_hub'] = None; from embedd.__main__ import main; sys.exit(main(['pull', 'a/b']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install huggingface_hub" in done.stderr


def test_the_commands_of_the_package_are_listed():
    listed = subprocess.run([sys.executable, "-m", "embedd", "--help"], capture_output=True, text=True)
    assert listed.returncode == 0 and "pull NAME" in listed.stdout
    assert subprocess.run([sys.executable, "-m", "embedd", "push"], capture_output=True, text=True).returncode == 2
