# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: python seeds.py [FOLDER], by default the kept corpus beside this file.

Small, and covering what each reader knows, so that a fuzzer starts from there.
"""

import base64
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "parity" / "pixels"), str(ROOT / "client" / "python" / "src")]
from embedd.v1 import embedding_service_pb2 as pb  # noqa: E402
from damaged_bmp import damaged_bmps  # noqa: E402
from damaged_gif import damaged_gifs  # noqa: E402
from damaged_jpeg import arithmetic  # noqa: E402
from damaged_tiff import damaged_tiffs  # noqa: E402
from make_corpus import picture, png, rgb, saved  # noqa: E402


# 64x64, by libheif and x265: Pillow writes no HEIC.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAUJtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAA"
    "AAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAFmAAEAAAAAAAAAjAAAACNpaW5mAAAAAAABAAAAFWluZmUCAAAAAAEAAGh2YzEAAAAAwmlwcnAA"
    "AACkaXBjbwAAAHhodmNDAQNwAAAAAAAAAAAAHvAA/P34+AAADwMgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQCEAAQArQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbqSSmubgQEDAgAAAMACAAAAwAIQCIAAQAHRAHBcrAiQAAAABRpc3BlAAAAAAAAAEAAAABAAAAAEHBpeGkAAAAAAwgICAAA"
    "ABZpcG1hAAAAAAAAAAEAAQOBAoMAAACUbWRhdAAAAIgoAa8J4MqfNdUyNm+QiVdcbq00Globx7w9bVqVaKYimM0vKn6rDrvp1xClC76lpU5B4b"
    "Ork69adrdBV6UxMzJ2A+9jNiilRPFD335ZoH1b0La9q3GkkiFZsdjFsH5bUftHd5UmW4sK1rZg5Yy9LMHxEM9MiZOwm3gpE582RhDuSLw2bYp0"
    "3rLA"
)

# 100x90 in four tiles.
HEIC_GRID = base64.b64decode(
    "AAAAGGZ0eXBoZWljAAAAAG1pZjFoZWljAAACR21ldGEAAAAAAAAAIWhkbHIAAAAAAAAAAHBpY3QAAAAAAAAAAAAAAAAAAAAADnBpdG0AAAAAAAEAAA"
    "BgaWxvYwEAAABEAAAFAAEAAQAAAAEAAAAAAAAACAACAAAAAAABAAACZwAAABwAAwAAAAAAAQAAAoMAAAAcAAQAAAAAAAEAAAKfAAAAHQAFAAAAAAAB"
    "AAACvAAAAB0AAAB3aWluZgAAAAAABQAAABVpbmZlAgAAAAABAABncmlkAAAAABVpbmZlAgAAAQACAABodmMxAAAAABVpbmZlAgAAAQADAABodmMxAA"
    "AAABVpbmZlAgAAAQAEAABodmMxAAAAABVpbmZlAgAAAQAFAABodmMxAAAAAQVpcHJwAAAAy2lwY28AAAAUaXNwZQAAAAAAAABkAAAAWgAAABRpc3Bl"
    "AAAAAAAAAEAAAABAAAAAEHBpeGkAAAAAAwgICAAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHr"
    "oCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAy"
    "aXBtYQAAAAAAAAAFAAEDAQMFAAIEAgOEBQADBAIDhAUABAQCA4QFAAUEAgOEBQAAACBpcmVmAAAAAAAAABRkaW1nAAEABAACAAMABAAFAAAAEGlkYX"
    "QAAAEBAGQAWgAAAHptZGF0AAAAGCgBrxOA5TPAn//wUqP/3Ws8Pwd4rVD1PgAAABgoAa8TgOUzwJ//2yo//lY1f+c52tUPU+AAAAAZKAGvE4DmqHDT"
    "//5wlFf+PPq/00ytJ5v3wAAAABkoAa8TgOaocNO//rTUf/6EOeHYSS0nm/fA"
)


def numbered(seeds):
    """The last byte picks the spec."""
    return [seed + bytes([i]) for i, seed in enumerate(seeds)]


COLOR, FOUR = rgb(24, 17, 1), picture(19, 13, 2, 4)


def decode_jpeg():
    seeds = [saved(COLOR, "JPEG", quality=60, **o) for o in ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1})]
    seeds += [saved(COLOR.convert("L"), "JPEG"), saved(Image.fromarray(FOUR, "CMYK"), "JPEG"), saved(Image.fromarray(FOUR, "CMYK"), "JPEG", progressive=True)]
    return numbered(seeds + [arithmetic(seeds[0], False), arithmetic(seeds[0], True)])


def decode_png():
    seeds = [saved(COLOR, "PNG"), saved(COLOR.quantize(7), "PNG", transparency=1), saved(COLOR, "PNG", save_all=True, append_images=[rgb(24, 17, 2)])]
    for interlace in (False, True):
        seeds.append(png(FOUR.astype(np.uint16) * 257, 6, 16, interlace))
        seeds.append(png(FOUR[:, :, :1] >> 6, 0, 2, interlace))
    return numbered(seeds)


def decode_webp():
    seeds = []
    for options in ({}, {"lossless": True}):
        seeds += [saved(COLOR, "WEBP", **options), saved(Image.fromarray(FOUR, "RGBA"), "WEBP", **options),
                  saved(COLOR, "WEBP", save_all=True, append_images=[rgb(24, 17, 2)], **options)]
    return numbered(seeds)


def decode_gif():
    seeds = [saved(COLOR.quantize(colors), "GIF", interlace=i % 2) for i, colors in enumerate((2, 5, 100))]
    seeds += [saved(COLOR.quantize(8), "GIF", transparency=2), saved(COLOR.quantize(8), "GIF", save_all=True, append_images=[rgb(24, 17, 2).quantize(8)])]
    return numbered(seeds + [data for name, data, _ in damaged_gifs() if name.startswith("screen-beyond")])


def decode_bmp():
    return numbered([data for name, data, _ in damaged_bmps() if "whole" in name or name.startswith("rle")][::3])


def decode_tiff():
    wanted = ("grey1-0", "palette4", "grey16", "float", "rgba16-multiplied", "cmyk16", "bigtiff-mm", "planar-zip", "tiles", "turned-6", "saved")
    return numbered([data for name, data, _ in damaged_tiffs() if name.endswith("-whole.tif") and name.startswith(wanted)])


def decode_avif():
    seeds = [saved(COLOR, "AVIF", subsampling=s) for s in ("4:2:0", "4:2:2", "4:4:4", "4:0:0")]
    return numbered(seeds + [saved(Image.fromarray(FOUR, "RGBA"), "AVIF"), saved(COLOR, "AVIF", save_all=True, append_images=[rgb(24, 17, 2)])])


def decode_heic():
    return numbered([HEIC, HEIC_GRID])


def decode():
    """Some of each format."""
    return [seed for of in FORMATS for seed in of()[::3]]


FORMATS = (decode_jpeg, decode_png, decode_webp, decode_gif, decode_bmp, decode_tiff, decode_avif, decode_heic)


def request():
    """EmbedBatchRequests: each kind of content, each setting, and what the checks refuse."""

    def raw(width, height, size):
        return pb.Input(raw_image=pb.RawImage(width=width, height=height, rgb=bytes(size)))

    good = pb.Input(image=b"\xff\xd8\xff", id="a")
    requests = [
        pb.EmbedBatchRequest(),
        pb.EmbedBatchRequest(inputs=[good]),
        pb.EmbedBatchRequest(inputs=[good, raw(2, 3, 18), pb.Input(text="a cat")], encoding=2, normalize=False, priority=2),
        pb.EmbedBatchRequest(inputs=[raw(2, 3, 17)]),
        pb.EmbedBatchRequest(inputs=[raw(0, 3, 0)]),
        pb.EmbedBatchRequest(inputs=[raw(2**32 - 1, 2**32 - 1, 3)]),
        pb.EmbedBatchRequest(inputs=[raw(64, 65, 64 * 65 * 3)]),
        pb.EmbedBatchRequest(inputs=[pb.Input(image=bytes(1001))]),
        pb.EmbedBatchRequest(inputs=[good] * 9),
        pb.EmbedBatchRequest(inputs=[good], encoding=3, expect_fingerprint="f00d"),
        pb.EmbedBatchRequest(inputs=[good], encoding=99),
        pb.EmbedBatchRequest(inputs=[good], priority=-1),
    ]
    return [message.SerializeToString() for message in requests]


def raw_image():
    """Width, height, a byte that picks the spec (64: pixels made to fit), pixels."""
    sides = [(1, 1), (8, 8), (3, 200), (200, 3), (256, 256), (0, 5), (2**24, 1), (2**24 + 1, 1), (2**32 - 1, 2**31)]
    return [struct.pack("<IIB", w, h, 64 | i) + bytes(range(16)) for i, (w, h) in enumerate(sides)] + [
        struct.pack("<IIB", 2, 2, 0) + bytes(12),
        struct.pack("<IIB", 2, 2, 0) + bytes(11),
    ]


def safetensors():
    """Files with each type, an empty tensor, metadata, a misaligned tensor; and a few that are wrong."""

    def file(header, data=b"", size=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if size is None else size) + text + data

    def tensor(kind, shape, begin, end):
        return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}

    return [
        file({}),
        file({"a": tensor("F32", [2, 2], 0, 16)}, bytes(16)),
        file({"a": tensor("F16", [3], 0, 6), "b": tensor("BF16", [], 6, 8)}, bytes(8)),
        file({"__metadata__": {"format": "pt"}, "ids": tensor("I64", [1, 2], 0, 16)}, bytes(16)),
        file({"a": tensor("F16", [1], 0, 2), "b": tensor("F32", [1], 2, 6)}, bytes(6)),
        file({"a": tensor("F64", [0, 5], 0, 0)}),
        file({"a": tensor("F32", [2**62, 8], 0, 16)}, bytes(16)),
        file({"a": tensor("F32", [4], 4, 20)}, bytes(20)),
        file({"a": tensor("F32", [4], 0, 16), "b": tensor("F32", [4], 8, 24)}, bytes(24)),
        file({"a": tensor("F32", [4], 0, 2**63)}, bytes(16)),
        file(b"[" * 100),
        file({}, size=2**63),
        file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4)),
    ]


def checkpoint():
    """What torch.save writes, byte for byte but for its padding, and pickles alone."""

    def zipped(pickle, *storages, **others):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
            entries = {"a/data.pkl": pickle, **{f"a/data/{i}": data for i, data in enumerate(storages)}, **others}
            for name, data in entries.items():
                file.writestr(zipfile.ZipInfo(name), data)
        return buffer.getvalue()

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value

    def numbers(*values):
        return b"(" + b"".join(b"K" + bytes([value]) for value in values) + b"t"

    def tensor(name, kind, key, elements, offset, shape, strides):
        return (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\nq\x02((" + text(b"storage") + b"ctorch\n" + kind
                + b"\n" + text(key) + text(b"cpu") + b"K" + bytes([elements]) + b"tQK" + bytes([offset])
                + numbers(*shape) + numbers(*strides) + b"\x89ccollections\nOrderedDict\n)RtR")

    def state_dict(*tensors):
        return b"\x80\x02ccollections\nOrderedDict\n)Rq\x01(" + b"".join(tensors) + b"u}X\x01\0\0\0_Nsb."

    four = tensor(b"a", b"FloatStorage", b"0", 4, 0, (2, 2), (2, 1))
    turned = tensor(b"b", b"HalfStorage", b"1", 6, 0, (3, 2), (1, 3))
    ids = tensor(b"c", b"LongStorage", b"0", 2, 1, (1,), (1,))
    return [
        zipped(state_dict(four), bytes(16)),
        zipped(state_dict(four, turned, ids), bytes(16), bytes(12), **{"a/byteorder": b"little", "a/version": b"3"}),
        zipped(b"\x80\x02}" + text(b"state_dict") + state_dict(four)[2:-1] + b"s.", bytes(16)),
        zipped(state_dict(), **{"a/constants.pkl": b""}),
        state_dict(four, turned, ids),
        b"\x80\x02}(X\x01\0\0\0aJ\1\2\3\4X\1\0\0\0b\x8a\x02\1\2X\1\0\0\0cG01234567M\1\2r\0\1\0\0j\0\1\0\0u.",
        b"\x80\x02cposix\nsystem\n" + text(b"id") + b"\x85R.",
        b"\x80\x02](K\1\x88Ne]a}}s\x86\x87.",
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
    ]


def config():
    """The first byte picks the reader: OpenCLIP, the two Hugging Face files, --config, an HTTP request."""
    clip = json.loads((ROOT / "models" / "demo" / "open_clip_config.json").read_text())
    odd = json.loads(json.dumps(clip))
    odd["model_cfg"]["vision_cfg"].update(image_size=[32, 64], ls_init_value=0.1, act_kwargs={"approximate": "tanh"})
    odd["preprocess_cfg"].update(resize_mode="squash", interpolation="bilinear")
    hugging = {"model_type": "clip", "projection_dim": 8,
               "vision_config": {"hidden_size": 64, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}}
    processor = {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}, "do_resize": True,
                 "resample": 3, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    settings = 'model = "a # b"\nmax-batch = 8 # so\nlisten = ["127.0.0.1:0", \'unix:/x\']\nqueue-bytes = 1MiB\n'
    texts = [(0, json.dumps(clip)), (0, json.dumps(odd)), (0, "{}"), (1, json.dumps(hugging)), (2, json.dumps(processor)),
             (3, settings), (3, "a = [1,\n"), (4, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
             (4, "POST / HTTP/1.0\r\n\r\n"), (4, "GET http://x/metrics?a=%41 HTTP/1.1\r\n\r\n")]
    return [bytes([reader]) + text.encode() for reader, text in texts]


def tokenizer():
    """Kind and cleaning, size of the text, text, file: each kind of file, small, with each part that is read."""

    def seed(kind, cleaning, text, file):
        text = text.encode()
        return bytes([kind + 4 * cleaning, len(text)]) + text + (file if isinstance(file, bytes) else json.dumps(file, ensure_ascii=False).encode())

    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    def piece(text, score, kind):
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind]))

    # A charsmap of one key: "A" becomes "a".
    units = [0] * 512
    units[0], units[1 ^ 65], units[256] = 1 << 10, ((1 ^ 65) ^ 256) << 10 | 1 << 8 | 65, 1 << 31
    charsmap = struct.pack("<I512I", 2048, *units) + b"a\0"
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
                "special_tokens": {"</s>": {"ids": [1]}}}
    pieces = [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["\u2581", -2.5], ["\u2581a", -1.5], ["b", -2], ["ab", -3]]
    unigram = {
        "added_tokens": [{"id": 1, "content": "</s>", "lstrip": True, "rstrip": True, "normalized": False, "special": True}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
                                                           {"type": "Strip", "strip_left": True, "strip_right": True},
                                                           {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "always"}]},
        "post_processor": template, "padding": {"pad_id": 1}, "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces}}
    gemma = {
        "added_tokens": [{"id": 3, "content": "\n", "normalized": True}], "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}, "post_processor": template,
        "model": {"type": "BPE", "unk_token": "?", "fuse_unk": True, "byte_fallback": True,
                  "vocab": {"?": 0, "</s>": 1, "_": 2, "\n": 3, "a": 4, "_a": 5, "<0xC3>": 6, "<0xA9>": 7}, "merges": ["_ a"]}}
    clip = {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 2]},
        "model": {"end_of_word_suffix": "</w>", "vocab": {"a": 0, "</s>": 1, "<s>": 2, "t</w>": 3, "at</w>": 4, "\u0120</w>": 5}, "merges": [["a", "t</w>"]]}}
    model = (piece("<pad>", 0, 3) + piece("</s>", 0, 3) + piece("<unk>", 0, 2) + piece("\u2581", -3, 1) + piece("\u2581a", -1, 1) + piece("b", -2, 1)
             + piece("xy", -1, 4) + piece("old", 0, 5))
    size = len(charsmap)
    spec = bytes([2 << 3 | 2, size & 127 | 128, size >> 7]) + charsmap + bytes([3 << 3, 0, 4 << 3, 1, 5 << 3, 1])
    spec = bytes([3 << 3 | 2, len(spec) & 127 | 128, len(spec) >> 7]) + spec
    # The 256 bytes of CLIP's vocabulary, alone and at the end of a word.
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    symbols = [chr(b) if b in shown else chr(next(hidden)) for b in range(256)]
    vocab = {s: i for i, s in enumerate(symbols + [s + "</w>" for s in symbols] + ["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"])}
    vocab = json.dumps(vocab, ensure_ascii=False, separators=(",", ":")).encode()
    config = json.dumps({"pad_token": {"content": "?"}, "add_bos_token": False, "add_eos_token": True, "eos_token": "</s>", "padding_side": "left"}).encode()
    return [
        seed(0, 0, " A ab</s> b\u00e9", unigram),
        seed(0, 5, "&amp;amp; \u201ca_b\u201d &#x41;\x1b[1mx", unigram),
        seed(0, 1, "A a\n\u00e9", gemma),
        seed(3, 0, "a a", json.dumps(gemma).encode() + b"\0" + config),
        seed(0, 0, "At 's \u0315\u0300 \U0001f469\u200d\U0001f467", clip),
        seed(1, 2, "a </s> b xy\u2581old", model),
        seed(1, 2, "AAb", model + spec),
        seed(1, 2, "a", model[:-3]),
        seed(2, 3, "Cat's <end_of_text> \ufb01\u00e9&eacute", vocab + b"\0#version: 0.2\nc a\nca t</w>\n"),
        seed(2, 4, "a", b'{"a":0}\0'),
        seed(0, 0, "a", {"model": {"type": "WordPiece"}}),
    ]


def main(folder):
    for seeds in (decode, *FORMATS, request, raw_image, safetensors, checkpoint, config, tokenizer):
        into = Path(folder) / seeds.__name__
        into.mkdir(parents=True, exist_ok=True)
        made = seeds()
        for i, seed in enumerate(made):
            (into / f"seed-{i:02d}").write_bytes(seed)
        print(f"{seeds.__name__}: {len(made)} seeds, {sum(map(len, made))} bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else HERE / "corpus")
