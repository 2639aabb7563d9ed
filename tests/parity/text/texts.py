# SPDX-License-Identifier: Apache-2.0
"""Texts made to be hard to tokenize: scripts, emoji, combining marks, odd spaces, entities, quotes. The same every time."""

import html.entities
import random
import unicodedata

RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x7FF), (0x900, 0xDFF), (0xE00, 0x11FF),
          (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x3400, 0x34FF), (0x4E00, 0x9FFF), (0xA000, 0xA8FF),
          (0xAC00, 0xD7A3), (0xF900, 0xFFFD), (0x10000, 0x107FF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x0, 0x9F)]
WORDS = ("a photo of the dog's red car isn't it we'll they've I'm you'd A PHOTO OF Naïve café ΟΔΥΣΣΕΥΣ Σ σς İstanbul ıI straße ẞ ﬁn ﬂower "
         "œuvre 12 3.14 2024 ½ Ⅷ ٣ ४५ don’t “quoted” ‘single’ „low“ foo_bar-baz a/b x=y C++ #tag @user http://example.com/a?b=c&d=e "
         "日本語のテキスト 한국어 русский العربية עברית हिन्दी ไทย Việt Nam e\u0301 o\u0308\u0323 👍🏽 👩‍👩‍👧 🇩🇪 ☃️ ①②ＡＢＣ　ｶﾞｷﾞ ﷺ ǆ ŉ ﬆ ſ 'ſ "
         "<start_of_text> <|startoftext|> <end_of_text> <|endoftext|> </s> <unk> <pad> <eos> <bos> ▁ ▁▁x x▁y <0x41> \u1e9b\u0323 K Å").split(" ")
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u200b", "\u3000", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff", ""]
ENTITIES = ["&amp;", "&lt;b&gt;", "&amp;amp;", "&#233;", "&#x1F600;", "&eacute", "&notit;", "&NTILDE;", "&#0;", "&#128;", "&#xD800;",
            "&#99999999999;", "&;", "&#;", "&#x;", "&bogus;", "&copy2024", "&nbsp;", "&#59;", "&SZLIG;", "&#38;lt;", "&hellip;", "\x1b[1;31mred\x1b[0m"]


def is_assigned(c):
    return unicodedata.category(c) not in ("Cn", "Cs")


def texts(count, seed=1):
    """`count` texts, none that ftfy takes for wrongly decoded text as it is."""
    from ftfy.badness import is_bad

    pools = [[chr(c) for c in range(first, last + 1) if is_assigned(chr(c))] for first, last in RANGES]
    names = sorted(html.entities.html5)
    rand = random.Random(seed)

    def part():
        kind = rand.random()
        if kind < 0.35:
            return rand.choice(WORDS)
        if kind < 0.5:
            return "".join(rand.choice(rand.choice(pools)) for _ in range(rand.randint(1, 6)))
        if kind < 0.75:
            pool = rand.choice(pools)
            return "".join(rand.choice(pool) for _ in range(rand.randint(1, 8)))
        if kind < 0.82:
            return rand.choice(ENTITIES)
        if kind < 0.88:
            return "&" + rand.choice(names) + rand.choice(["", ";", "x"])
        if kind < 0.92:
            number = ord(rand.choice(rand.choice(pools))) if rand.random() < 0.7 else rand.randint(0, 0x37F)
            return "&#" + rand.choice([f"{number}", f"x{number:x}", f"X{number:X}", f"0{number}"]) + rand.choice(["", ";"])
        if kind < 0.96:
            return rand.choice("abcdefghijklmnopqrstuvwxyzéα") * rand.randint(2, 40)
        return "".join(rand.choice("ABCDefgh ijkl.,!?'\"-_()[]{}<>&;:#0123456789") for _ in range(rand.randint(1, 30)))

    made = ["", " ", "\n", "a", "A photo of a cat.", "a " * 200, "x" * 300, "é" * 100]
    while len(made) < count:
        text = "".join(rand.choice(SPACES) + part() for _ in range(rand.choice([1, 2, 3, 5, 8, 30])))
        if not is_bad(text):
            made.append(text)
    return made


def training_lines(count=6000, seed=7):
    """Lines that small vocabularies are trained on: common words of many scripts, so that most rare characters stay unknown."""
    rand = random.Random(seed)
    latin = [chr(c) for first, last in ((0x61, 0x7A), (0xDF, 0xF6), (0x3B1, 0x3C9), (0x430, 0x44F), (0x627, 0x64A), (0x904, 0x939)) for c in range(first, last)]
    syllables = ["".join(rand.choice(latin) for _ in range(rand.randint(1, 3))) for _ in range(400)]
    return [
        " ".join(rand.choice(WORDS) if rand.random() < 0.7 else "".join(rand.choice(syllables) for _ in range(rand.randint(1, 3))) for _ in range(12))
        for _ in range(count)
    ]
