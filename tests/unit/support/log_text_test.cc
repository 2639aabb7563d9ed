// SPDX-License-Identifier: Apache-2.0

#include "server/support/log_text.h"

#include <string>

#include "tests/support/catch.h"

namespace embedd::log_text {
namespace {

TEST_CASE("A JSON string escapes quotes, backslashes and control characters") {
  CHECK(JsonString("a\"b\\c") == R"("a\"b\\c")");
  CHECK(JsonString("line\nnext\ttab\r") == R"("line\nnext\ttab\u000d")");
  CHECK(JsonString(std::string_view("\0\x1f\x7f", 3)) == R"("\u0000\u001f\u007f")");
}

TEST_CASE("A JSON string keeps UTF-8 and replaces what is none") {
  CHECK(JsonString("gr\xC3\xBC\xC3\x9F \xF0\x9F\x93\xB7") == "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x93\xB7\"");
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(JsonString("\xFF") == "\"" + mark + "\"");
  CHECK(JsonString("\xC3") == "\"" + mark + "\"");                                   // cut off
  CHECK(JsonString("\xC0\xAF") == "\"" + mark + mark + "\"");                        // overlong slash
  CHECK(JsonString("\xED\xA0\x80") == "\"" + mark + mark + mark + "\"");             // surrogate
  CHECK(JsonString("\xF4\x90\x80\x80") == "\"" + mark + mark + mark + mark + "\"");  // above U+10FFFF
  CHECK(JsonString("\xE2\x28x") == "\"" + mark + "(x\"");  // what follows is not swallowed
}

TEST_CASE("JSON members come in the order level, msg, fields") {
  CHECK(JsonMembers(LogLevel::kWarn, "queue full", {{"images", "12"}}) ==
        R"("level":"warn","msg":"queue full","images":"12")");
}

TEST_CASE("A text line stays one line and quotes values with spaces") {
  CHECK(Text(LogLevel::kInfo, "listening", {{"at", "127.0.0.1:1"}}) == "info   listening  at=127.0.0.1:1");
  CHECK(Text(LogLevel::kError, "x\ny", {{"why", "a b"}, {"empty", ""}, {"q", "\""}}) ==
        R"(error  x\ny  why="a b"  empty=""  q="\"")");
}

}  // namespace
}  // namespace embedd::log_text
