// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/text_cleaning.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("What ftfy repairs is repaired: quotes, ligatures, widths, line ends, controls, references") {
  CHECK(FixText(U"\u201cdon\u2019t\u201d \ufb01n \uff21\u3000\uff76\uff9e") == U"\"don't\" fin A \u30ac");
  CHECK(FixText(U"a\r\nb\rc\u2028d") == U"a\nb\nc\nd");
  CHECK(FixText(U"\x1b[1;31mred\x1b[0m\a\ufeff e\u0301") == U"red \u00e9");
  CHECK(FixText(U"\x93quoted\x94 \x85") == U"\"quoted\" \u2026");
  CHECK(FixText(U"&amp;lt; &lt;") == U"< <");
}

TEST_CASE("From a line with < on, references stay: it may be markup") {
  CHECK(FixText(U"&amp;\n<b>&amp;</b>\n&amp;") == U"&\n<b>&amp;</b>\n&amp;");
}

TEST_CASE("References within references are undone as deep as the bound and no deeper") {
  std::u32string deep = U"&";
  for (int i = 0; i < kMostRounds + 10; ++i) deep += U"amp;";
  CHECK(FixText(U"&amp;amp;amp;") == U"&");
  CHECK(FixText(deep).size() == 1 + 10 * 4);
}

TEST_CASE("Each mode leaves what its library leaves") {
  const std::u32string text = U"  It&#39;s  a_Photo: \u039f\u03a3!\u00a0 ";
  CHECK(CleanText(text, TextCleaning::kOpenClipLower) == U"it's a_photo: \u03bf\u03c2!");
  CHECK(CleanText(text, TextCleaning::kOpenClipWhitespace) == U"It's a_Photo: \u039f\u03a3!");
  CHECK(CleanText(text, TextCleaning::kOpenClipCanonicalize) == U"its a photo \u03bf\u03c2");
  CHECK(CleanText(text, TextCleaning::kSiglip) == U"it39s aphoto \u03bf\u03c2");
  CHECK(CleanText(text, TextCleaning::kNone) == text);
}

}  // namespace
}  // namespace embedd
