// SPDX-License-Identifier: Apache-2.0

#include "server/support/utf8.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("What protobuf takes as a string is UTF-8, and nothing else") {
  for (const char* text :
       {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xb1", "\xee\x80\x80", "\xef\xbf\xbf"})
    CHECK(IsUtf8(text));
  // A lone byte, one cut short, overlong forms, surrogates, beyond U+10FFFF.
  for (const char* text : {"\x80", "\xff", "\xc3", "a\xe2\x82", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    CHECK_FALSE(IsUtf8(text));
    CHECK(IsUtf8(ToValidUtf8(text)));
  }
  CHECK(IsUtf8(absl::string_view("a\0b", 3)));
}

TEST_CASE("A text is cut between characters, and what is no UTF-8 becomes a sign that is") {
  const std::string text = "ab\xe2\x82\xac";
  CHECK(CutUtf8(text, 5) == text);
  for (const size_t bytes : {2, 3, 4}) CHECK(CutUtf8(text, bytes) == "ab");
  CHECK(CutUtf8(text, 0) == "");
  CHECK(CutUtf8("\x80\x80\x80\x80\x80\x80", 5).size() <= 5);
  CHECK(ToValidUtf8("a\xe9\xe9z") == "a\xef\xbf\xbd\xef\xbf\xbdz");
}

}  // namespace
}  // namespace embedd
