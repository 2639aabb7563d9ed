# SPDX-License-Identifier: Apache-2.0
"""Our token ids against those of the models' own libraries, text by text, for every kind of tokenizer.

The references are what users of the models run: open_clip's tokenizers, transformers' AutoTokenizer, tokenizers, sentencepiece.
Run by pytest (the tool is looked for in EMBEDD_BUILD_DIR, default build/dev). With EMBEDD_NIGHTLY set, ten times the texts.

A difference is allowed for one of three causes, each of which is tested for in the text itself:
  mojibake  ftfy takes the text for wrongly decoded and repairs it; we do not guess.
  newer     a character that Unicode added lately: the libraries and our ICU know different ones.
  nfc       tokenizers' NFC has tables of 2017, and orders combining marks that are newer than those in another way.
"""

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import ftfy
import pytest

os.environ["TRANSFORMERS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))
import vocabularies  # noqa: E402
from texts import texts, training_lines  # noqa: E402

ROOT = Path(__file__).parents[3]
COUNT = 200_000 if os.environ.get("EMBEDD_NIGHTLY") else 20_000
MOST_ALLOWED = COUNT // 1000


def tool():
    build = Path(os.environ.get("EMBEDD_BUILD_DIR", ROOT / "build" / "dev"))
    return (ROOT / build if not build.is_absolute() else build) / "bin" / "text_dump"


def run_tool(arguments, given):
    assert tool().exists(), f"{tool()} is not built"
    data = b"".join(struct.pack("<I", len(t)) + t for t in (t.encode() for t in given))
    return subprocess.run([tool(), *map(str, arguments)], input=data, capture_output=True)


def our_ids(folder, kind, cleaning, length, vocabulary, given):
    done = run_tool([folder, kind, cleaning, length, vocabulary], given)
    assert done.returncode == 0, done.stderr.decode()
    head, *lines = done.stdout.decode().splitlines()
    pad, eos, lowercases, identity = head.split()
    return [list(map(int, line.split())) for line in lines], int(pad), int(eos), lowercases == "1", identity


def refusal(folder, kind="json", cleaning="none", length=64, vocabulary=50000):
    done = run_tool([folder, kind, cleaning, length, vocabulary], [])
    assert done.returncode == 1
    return done.stderr.decode()


@pytest.fixture(scope="module")
def given():
    return texts(COUNT)


@pytest.fixture(scope="module")
def lines():
    return training_lines()


def make(tmp_path_factory, name, maker, *arguments, **options):
    folder = tmp_path_factory.mktemp(name)
    size = maker(folder, *arguments, **options)
    return folder, size


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make(tmp_path_factory, "clip", vocabularies.clip)[0]


def mojibake(text):
    return ftfy.fix_text(text) != ftfy.fix_text(text, fix_encoding=False)


def newer(text):
    from open_clip.tokenizer import basic_clean

    return any(unicodedata.category(c) == "Cn" for c in text + basic_clean(text))


def nfc(text):
    from tokenizers import normalizers

    return normalizers.NFC().normalize_str(text) != unicodedata.normalize("NFC", text)


def compare(name, given, got, want, causes=()):
    assert len(got) == len(want) == len(given) >= 20_000
    found, problems = {cause.__name__: 0 for cause in causes}, []
    for text, ours, theirs in zip(given, got, want):
        if ours == theirs:
            continue
        cause = next((c.__name__ for c in causes if c(text)), None)
        if cause:
            found[cause] += 1
        else:
            problems.append(f"{ascii(text)}\n  ours   {ours}\n  theirs {theirs}")
    print(f"tokens: {name:46} {len(given)} texts, {len(problems)} differ" + "".join(f", {n} by {c}" for c, n in found.items() if n))
    assert not problems, f"{len(problems)} of {len(given)}:\n" + "\n".join(problems[:10])
    assert sum(found.values()) <= MOST_ALLOWED


@pytest.mark.parametrize("mode", ["lower", "whitespace", "canonicalize"])
def test_open_clip_built_in_vocabulary(clip, given, mode):
    from open_clip.tokenizer import SimpleTokenizer

    got, pad, eos, lowercases, _ = our_ids(clip, "open_clip", f"open_clip_{mode}", 77, 49408, given)
    assert (pad, eos, lowercases) == (0, 49407, mode != "whitespace")
    compare(f"open_clip CLIP, clean={mode}", given, got, SimpleTokenizer(clean=mode)(given).tolist(), [mojibake, newer])


def test_open_clip_vocabulary_from_vocab_and_merges(clip, given, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((clip / name).read_bytes())
    some = given[:2000]
    assert our_ids(tmp_path, "open_clip", "open_clip_lower", 77, 49408, some)[0] == our_ids(clip, "open_clip", "open_clip_lower", 77, 49408, some)[0]


def test_golden_ids_of_open_clip(clip):
    golden = {
        "a diagram": [320, 22697],
        "Hello World!": [3306, 1002, 256],
        "  It's   the   DOG's  ball, isn't it? ": [585, 568, 518, 1929, 568, 1069, 267, 2923, 713, 585, 286],
        "&lt;b&gt; &amp;amp;": [283, 321, 285, 261],
        "emoji \U0001f600 test": [16327, 7334, 1628],
        "": [],
    }
    got = our_ids(clip, "open_clip", "open_clip_lower", 77, 49408, list(golden))[0]
    for ids, want in zip(got, golden.values()):
        assert ids == [49406, *want, 49407] + [0] * (75 - len(want))


def test_hf_clip(clip, given):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(clip)
    assert type(theirs).__name__ == "CLIPTokenizer"
    want = theirs(given, max_length=77, padding="max_length", truncation=True).input_ids
    got, pad, eos, lowercases, _ = our_ids(clip, "json", "none", 77, 49408, given)
    assert (pad, eos, lowercases) == (49407, 49407, True)
    compare("HF CLIP, transformers", given, got, want, [nfc, newer])


@pytest.mark.parametrize("options", [{}, {"byte_fallback": True, "user_defined_symbols": ["of", "photo"]}, {"add_dummy_prefix": False}], ids=str)
def test_hf_siglip(tmp_path_factory, given, lines, options):
    from transformers import AutoTokenizer

    folder, _ = make(tmp_path_factory, "siglip", vocabularies.siglip_hf, lines, **options)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == "SiglipTokenizer"
    want = theirs(given, max_length=64, padding="max_length", truncation=True).input_ids
    got, pad, eos, lowercases, _ = our_ids(folder, "sentencepiece", "siglip", 64, theirs.vocab_size, given)
    assert (pad, eos, lowercases) == (1, 1, True)
    compare(f"HF SigLIP, spiece.model {','.join(options)}", given, got, want)


def our_fast(path, pad, length=64):
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(path / "tokenizer.json"))
    theirs.enable_truncation(length)
    theirs.enable_padding(pad_id=pad, pad_token=theirs.id_to_token(pad), length=length)
    return theirs


@pytest.mark.parametrize("scheme", ["always", "never"])
def test_unigram_tokenizer_json(tmp_path_factory, given, lines, scheme):
    folder, _ = make(tmp_path_factory, "unigram", vocabularies.unigram_json, lines, prepend_scheme=scheme)
    want = [e.ids for e in our_fast(folder, 1).encode_batch(given)]
    got, pad, eos, lowercases, _ = our_ids(folder, "json", "none", 64, 2000, given)
    assert (pad, eos, lowercases) == (1, 1, False)
    compare(f"Unigram tokenizer.json, Metaspace {scheme}", given, got, want, [newer])
    if scheme == "always":  # what transformers 5 makes of every T5 tokenizer
        from open_clip.tokenizer import HFTokenizer

        theirs = HFTokenizer(str(folder), context_length=64, clean="canonicalize")
        got = our_ids(folder, "json", "open_clip_canonicalize", 64, 2000, given)[0]
        compare("open_clip SigLIP", given, got, theirs(given).tolist(), [mojibake, newer])


def test_gemma_tokenizer_json(tmp_path_factory, given, lines):
    from open_clip.tokenizer import HFTokenizer
    from transformers import AutoTokenizer

    folder, size = make(tmp_path_factory, "gemma", vocabularies.gemma, lines)
    want = [e.ids for e in our_fast(folder, 0).encode_batch(given)]
    got, pad, eos, lowercases, _ = our_ids(folder, "json", "none", 64, size, given)
    assert (pad, eos, lowercases) == (0, 1, False)
    compare("BPE with byte fallback, tokenizer.json", given, got, want, [newer])

    got = our_ids(folder, "json", "open_clip_canonicalize", 64, size, given)[0]
    theirs = HFTokenizer(str(folder), context_length=64, clean="canonicalize")
    compare("open_clip SigLIP 2", given, got, theirs(given).tolist(), [mojibake, newer])

    folder, size = make(tmp_path_factory, "siglip2", vocabularies.gemma, lines, "Siglip2Tokenizer")
    theirs = AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == "Siglip2Tokenizer"
    want = theirs(given, max_length=64, padding="max_length", truncation=True).input_ids
    got, *_, lowercases, _ = our_ids(folder, "json", "lower", 64, size, given)
    assert lowercases
    compare("HF SigLIP 2, transformers", given, got, want, [newer])


LEFT = {"padding_side": "left", "truncation_side": "left"}
ODD = {
    # what a folder is, and changes of its tokenizer_config.json: None takes a key out
    "CLIP, left": ("clip", LEFT),
    "CLIP, a token as an object": ("clip", {"pad_token": {"__type": "AddedToken", "content": "!</w>", "lstrip": False, "rstrip": False,
                                                          "normalized": False, "single_word": False}}),
    "SigLIP, left": ("siglip", LEFT),
    "SigLIP, case kept": ("siglip", {"do_lower_case": False}),
    "SigLIP, another pad": ("siglip", {"pad_token": "<pad>"}),
    "SigLIP, nothing said": ("siglip", {"pad_token": None, "eos_token": None, "unk_token": None, "do_lower_case": None}),
    "SigLIP 2, left": ("siglip2", LEFT),
    "SigLIP 2, no side said": ("siglip2", {"padding_side": None}),
    "SigLIP 2, no pad said": ("siglip2", {"pad_token": None}),
    "Gemma, no side said": ("gemma", {"padding_side": None}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, clip, lines):
    siglip, _ = make(tmp_path_factory, "siglip-odd", vocabularies.siglip_hf, lines)
    siglip2, size = make(tmp_path_factory, "siglip2-odd", vocabularies.gemma, lines, "Siglip2Tokenizer")
    gemma, _ = make(tmp_path_factory, "gemma-odd", vocabularies.gemma, lines)
    return {"clip": (clip, "json", "none", 77, 49408), "siglip": (siglip, "sentencepiece", "siglip", 64, 2000),
            "siglip2": (siglip2, "json", "lower", 64, size), "gemma": (gemma, "json", "none", 64, size)}


def odd_folder(source, folder, changes):
    shutil.copytree(source, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.update(changes)
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def check_as_library(folder, kind, cleaning, length, size, given):
    from transformers import AutoTokenizer

    want = AutoTokenizer.from_pretrained(folder)(given, max_length=length, padding="max_length", truncation=True).input_ids
    got = our_ids(folder, kind, cleaning, length, size, given)[0]
    different = [(ascii(text), ours, theirs) for text, ours, theirs in zip(given, got, want) if ours != theirs and not newer(text) and not nfc(text)]
    assert not different, different[:3]


@pytest.mark.parametrize("odd", ODD)
def test_what_a_tokenizer_config_says_or_leaves_open_is_taken_as_the_library_takes_it(folders, odd, given, tmp_path):
    name, changes = ODD[odd]
    source, *how = folders[name]
    check_as_library(odd_folder(source, tmp_path / "model", changes), *how, given[:300])


def test_tokens_of_old_folders_are_in_special_tokens_map(folders, given, tmp_path):
    source, *how = folders["siglip2"]
    folder = odd_folder(source, tmp_path / "model", {"pad_token": None})
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<mask>"}))
    check_as_library(folder, *how, given[:300])


def test_sides_that_were_set_when_a_tokenizer_json_was_saved_count(folders, given, tmp_path):
    source, *how = folders["clip"]
    folder = odd_folder(source, tmp_path / "model", {})
    file = json.loads((folder / "tokenizer.json").read_text())
    file["padding"] = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 49407, "pad_type_id": 0,
                       "pad_token": "<|endoftext|>"}
    file["truncation"] = {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(file))
    check_as_library(folder, *how, given[:300])


def test_siglips_identity_changes_with_what_its_config_changes_alone(folders, tmp_path):
    source, *how = folders["siglip"]
    identities = [our_ids(odd_folder(source, tmp_path / str(i), changes), *how, ["a"])[4]
                  for i, changes in enumerate([{}, {"extra": 1}, {"do_lower_case": False}, {"pad_token": "<pad>"}, LEFT])]
    assert identities[0] == identities[1] and len(set(identities)) == 4


def test_long_texts_keep_the_end_token(clip):
    got = our_ids(clip, "open_clip", "open_clip_lower", 77, 49408, ["cat " * 200, "x" * 100_000, "&amp;" * 20_000, "\u0315\u0300" * 20_000])[0]
    assert [len(ids) for ids in got] == [77] * 4
    assert all(ids[0] == 49406 for ids in got) and got[0][-1] == 49407


def test_identity_follows_files_cleaning_and_length(clip, tmp_path):
    def identity(folder, cleaning="open_clip_lower", length=77):
        return our_ids(folder, "open_clip", cleaning, length, 49408, ["a"])[4]

    (tmp_path / "tokenizer.json").write_bytes((clip / "tokenizer.json").read_bytes())
    assert identity(tmp_path) == identity(clip)
    assert len({identity(clip), identity(clip, "open_clip_whitespace"), identity(clip, length=32)}) == 3
    with open(tmp_path / "tokenizer.json", "a") as file:
        file.write("\n")
    assert identity(tmp_path) != identity(clip)


def test_a_missing_file_is_named_with_the_command_that_gets_it(tmp_path):
    for kind, name in (("open_clip", "tokenizer.json"), ("json", "tokenizer.json"), ("sentencepiece", "spiece.model")):
        message = refusal(tmp_path, kind)
        assert f"{tmp_path}/{name}: is missing" in message and f"hf download OWNER/MODEL {name} --local-dir {tmp_path}" in message


@pytest.mark.parametrize(
    "path, value, named",
    [
        ("model.type", "WordPiece", 'model: type "WordPiece" is not read'),
        ("normalizer", {"type": "BertNormalizer"}, 'normalizer: type "BertNormalizer" is not read'),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "a+"}, "content": ""}, 'Replace with the pattern "a+" is not read'),
        ("pre_tokenizer", {"type": "Punctuation"}, 'pre_tokenizer: type "Punctuation" is not read'),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False}, "ByteLevel with use_regex is not read"),
        ("pre_tokenizer", {"type": "Metaspace", "prepend_scheme": "first"}, 'prepend_scheme "first" is not read'),
        ("post_processor", {"type": "Other"}, 'post_processor: type "Other" is not read'),
        ("model.dropout", 0.1, "dropout is not read"),
        ("model.merges", [["a", "b"], ["zz", "zzz"]], "model.merges: the merge"),
        ("model.unk_token", "nothing", "unk_token is not in vocab"),
        ("added_tokens", [{"id": 3}], "added_tokens: each needs id and content"),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused_by_name(tmp_path, path, value, named):
    file = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}, "normalizer": None,
            "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "b"}}],
                               "special_tokens": {"b": {"ids": [1]}}}}

    def write():
        (tmp_path / "tokenizer.json").write_text(json.dumps(file))

    write()
    assert our_ids(tmp_path, "json", "none", 4, 3, ["abab"])[0] == [[2, 2, 1, 1]]
    *parents, last = path.split(".")
    target = file
    for parent in parents:
        target = target[parent]
    target[last] = value
    write()
    message = refusal(tmp_path)
    assert named in message and message.startswith(f"{tmp_path}/tokenizer.json: ")


def test_a_vocabulary_larger_than_the_tower_is_refused(clip):
    assert "knows 49407" in refusal(clip, "open_clip", "open_clip_lower", 77, 49407)


def test_the_table_of_html_entities_is_pythons():
    folder = ROOT / "server" / "prepare" / "text"
    spec = importlib.util.spec_from_file_location("make_html_entities", folder / "make_html_entities.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (folder / "html_entities.inc").read_text() == module.table()
