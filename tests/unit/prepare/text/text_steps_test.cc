// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/text_steps.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

using Words = std::vector<std::u32string>;

SplitStep Step(SplitStep::Kind kind) {
  SplitStep step;
  step.kind = kind;
  return step;
}

TEST_CASE("CLIP's words: endings, runs of letters, single digits, runs of signs") {
  SplitStep step = Step(SplitStep::Kind::kClipWords);
  CHECK(Split(U"it's 42 foo_bar!? e\u0301'tis", {step}) ==
        Words{U"it", U"'s", U"4", U"2", U"foo", U"_", U"bar", U"!?", U"e", U"\u0301'", U"tis"});
  CHECK(Split(U"IT'S <end>", {step}) == Words{U"IT", U"'", U"S", U"<", U"end", U">"});
  step.whole = {U"<end>"};
  step.ignore_case = true;
  CHECK(Split(U"IT'S <End> '\u017f\u0345", {step}) == Words{U"IT", U"'S", U"<End>", U"'\u017f"});
}

TEST_CASE("A mark stands for a space and begins a word") {
  SplitStep step = Step(SplitStep::Kind::kMetaspace);
  step.mark = U'_';
  CHECK(Split(U"a  b", {step}) == Words{U"_a", U"_", U"_b"});
  CHECK(Split(U"_a", {step}) == Words{U"_a"});
  step.prepend = false;
  CHECK(Split(U"a b", {step}) == Words{U"a", U"_b"});
  step.split = false;
  CHECK(Split(U"a b", {step}) == Words{U"a_b"});
}

TEST_CASE("Spaces part words, or stay at the end of one") {
  CHECK(Split(U" a\t b ", {Step(SplitStep::Kind::kWhitespace)}) == Words{U"a", U"b"});
  CHECK(Split(U" a b ", {Step(SplitStep::Kind::kSpaceAtEnd)}) == Words{U" ", U"a ", U"b "});
}

TEST_CASE("Bytes have the symbols of GPT-2: printable ones their own, the others from U+0100 on") {
  CHECK(Split(U" \u00e9a", {Step(SplitStep::Kind::kBytes)}) == Words{U"\u0120\u00c3\u00a9a"});
  CHECK(ByteSymbol(0) == 0x100);
  CHECK(ByteSymbol(0xad) == 0x143);
}

TEST_CASE("Normalizers run one after the other") {
  NormalizeStep spaces, prepend, strip, replace, lower;
  spaces.kind = NormalizeStep::Kind::kReplaceSpaces;
  spaces.to = U" ";
  prepend.kind = NormalizeStep::Kind::kPrepend;
  prepend.to = U">";
  strip.kind = NormalizeStep::Kind::kStrip;
  replace.kind = NormalizeStep::Kind::kReplace;
  replace.from = U"aa";
  replace.to = U"b";
  lower.kind = NormalizeStep::Kind::kLower;
  CHECK(Normalize(U" AAA \t\u3000c ", {lower, spaces, strip, replace, prepend}) == U">ba c");
  CHECK(Normalize(U"", {prepend}).empty());
  spaces.any_space = false;
  spaces.shortest = 2;
  CHECK(Normalize(U"a b  c\t\td", {spaces}) == U"a b c\t\td");
}

}  // namespace
}  // namespace embedd
