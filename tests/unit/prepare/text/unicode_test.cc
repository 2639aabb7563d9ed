// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/unicode.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("UTF-8 becomes code points and back, and bytes that are none become U+FFFD") {
  CHECK(ToCodePoints("a\u00e9\u6f22\U0001f600") == U"a\u00e9\u6f22\U0001f600");
  CHECK(ToUtf8(U"a\u00e9\u6f22\U0001f600") == "a\u00e9\u6f22\U0001f600");
  CHECK(ToCodePoints("a\xff\xc3") == U"a\ufffd\ufffd");
  CHECK(ToCodePoints(absl::string_view("\0b", 2)) == std::u32string(U"\0b", 2));
}

TEST_CASE("ICU's data is there: normal forms, cases and classes") {
  CHECK(Nfc(U"e\u0301") == U"\u00e9");
  CHECK(Nfkc(U"\uff21\ufb01") == U"Afi");
  CHECK(Lower(U"\u039f\u0394\u039f\u03a3 A\u0130") == U"\u03bf\u03b4\u03bf\u03c2 ai\u0307");
  CHECK(LowerEach(U"\u039f\u0394\u039f\u03a3 A\u0130") == U"\u03bf\u03b4\u03bf\u03c3 ai\u0307");
  CHECK(Upper(U"\u00df") == U"SS");
  CHECK((IsLetter(U'\u6f22') && !IsLetter(U'1') && IsNumber(U'\u2167') && IsDecimalDigit(U'\u0663') &&
         !IsDecimalDigit(U'\u2167')));
  CHECK((IsWhiteSpace(0x3000) && IsWhiteSpace(0x85) && !IsWhiteSpace(0x200b) && !IsWhiteSpace(0x1c) &&
         IsPythonSpace(0x1c)));
}

TEST_CASE("A cluster ends behind its marks, and an emoji of several is one") {
  CHECK(GraphemeEnds(U"ab\r\nc") == std::vector<size_t>{1, 2, 4, 5});
  CHECK(GraphemeEnds(U"e\u0301x") == std::vector<size_t>{2, 3});
  CHECK(GraphemeEnds(U"\U0001f469\u200d\U0001f467!") == std::vector<size_t>{3, 4});
  CHECK(GraphemeEnds(U"").empty());
}

}  // namespace
}  // namespace embedd
