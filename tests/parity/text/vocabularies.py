# SPDX-License-Identifier: Apache-2.0
"""Model folders' tokenizer files for the tests: CLIP's from the vocabulary in the open_clip package, small ones of the other
kinds trained here, in the shapes that the published folders have."""

import gzip
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CLIP_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def clip_vocabulary():
    from open_clip.tokenizer import bytes_to_unicode, default_bpe

    lines = gzip.open(default_bpe()).read().decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    symbols = list(bytes_to_unicode().values())
    pieces = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {piece: i for i, piece in enumerate(pieces)}, merges


def clip(folder):
    """As openai/clip-vit-* and the LAION folders: tokenizer.json, vocab.json, merges.txt."""
    vocab, merges = clip_vocabulary()
    tokenizer = Tokenizer(models.BPE(vocab, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CLIP_PATTERN), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 49407), ("<|startoftext|>", 49406), False, False)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<|startoftext|>", "<|endoftext|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>", "bos_token": "<|startoftext|>",
              "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def sentencepiece_model(folder, lines, size=2000, **options):
    """spiece.model as T5's and SigLIP's: Unigram, <pad> 0 or none, </s> 1, <unk> 2."""
    import sentencepiece

    source = folder / "lines.txt"
    source.write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(source), model_prefix=str(folder / "spiece"), vocab_size=size, model_type="unigram", pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, **options)
    (folder / "spiece.vocab").unlink()
    source.unlink()


def siglip_hf(folder, lines, **options):
    """As google/siglip-*: spiece.model."""
    sentencepiece_model(folder, lines, **options)
    config = {"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>",
              "do_lower_case": True, "model_max_length": 64, "additional_special_tokens": []}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip"}))


def unigram_json(folder, lines, prepend_scheme="always"):
    """As timm/ViT-*-SigLIP: a T5 tokenizer.json, Precompiled charsmap, Unigram."""
    import sentencepiece

    sentencepiece_model(folder, lines)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    pieces = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    charsmap = normalizer_charsmap((folder / "spiece.model").read_bytes())
    (folder / "spiece.model").unlink()
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme=prepend_scheme, split=True)])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme=prepend_scheme, split=True)
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<pad>", "</s>", "<unk>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0,
              "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def normalizer_charsmap(model):
    """precompiled_charsmap (field 2) of the normalizer_spec (field 3) of a sentencepiece model."""

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < len(data):
            tag = varint()
            size = varint() if tag & 7 in (0, 2) else {1: 8, 5: 4}[tag & 7]
            if tag & 7:
                yield tag >> 3, data[at : at + size]
                at += size

    spec = dict(fields(model))[3]
    return dict(fields(spec))[2]


def gemma(folder, lines, tokenizer_class="GemmaTokenizer"):
    """As google/siglip2-* and timm/ViT-*-SigLIP2: BPE with byte fallback, <pad> 0, <eos> 1, <bos> 2, <unk> 3."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [f"<0x{i:02X}>" for i in range(256)]
    # Trained word by word: whole lines would become pieces.
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=specials, limit_alphabet=1200, show_progress=False)
    tokenizer.train_from_iterator((word for line in lines for word in line.replace(" ", " ▁").split(" ")), trainer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "<eos>"], pair=["$A", "<eos>", "$B", "<eos>"], special_tokens=[("<eos>", 1)])
    saved = json.loads(tokenizer.to_str())
    # Special ones as in the published file, and the runs of line ends that it cuts out first.
    vocab = saved["model"]["vocab"]
    saved["added_tokens"] = [dict(id=vocab[t], content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                             for t in specials[:5]]
    for run in range(1, 4):
        token = "\n" * run
        vocab.setdefault(token, len(vocab))
        saved["added_tokens"].append(dict(id=vocab[token], content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False))
    (folder / "tokenizer.json").write_text(json.dumps(saved, ensure_ascii=False))
    config = {"tokenizer_class": tokenizer_class, "add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>", "eos_token": "<eos>",
              "pad_token": "<pad>", "unk_token": "<unk>", "padding_side": "right", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    return len(vocab)
