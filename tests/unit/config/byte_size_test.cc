// SPDX-License-Identifier: Apache-2.0

#include "server/config/byte_size.h"

#include <cstdint>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Sizes are read with binary and decimal units") {
  CHECK(ParseByteSize("64MiB").value() == int64_t{64} << 20);
  CHECK(ParseByteSize("512MB").value() == 512'000'000);
  CHECK(ParseByteSize("1GiB").value() == int64_t{1} << 30);
  CHECK(ParseByteSize("1.5 GiB").value() == int64_t{3} << 29);
  CHECK(ParseByteSize("10kb").value() == 10'000);
  CHECK(ParseByteSize("2TiB").value() == int64_t{2} << 40);
  CHECK(ParseByteSize("17").value() == 17);
  CHECK(ParseByteSize("17B").value() == 17);
  CHECK(ParseByteSize("0").value() == 0);
  CHECK(ParseByteSize("9223372036854775807").value() == INT64_MAX);
}

TEST_CASE("What is not a size is refused") {
  for (const char* text : {"", " ", "MiB", "-1", "64M", "64 Mi B", "0x10", "1e9", "1..5", "12 34",
                           "9223372036854775808", "9000000TiB", "99999999999999999999TB",
                           "64MiB "
                           "x"}) {
    INFO(text);
    CHECK(ParseByteSize(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("Formatting takes the largest unit that is exact, and can be read back") {
  CHECK(FormatByteSize(int64_t{64} << 20) == "64MiB");
  CHECK(FormatByteSize(512'000'000) == "512MB");
  CHECK(FormatByteSize(1025) == "1025");
  CHECK(FormatByteSize(0) == "0");
  for (const int64_t bytes : {int64_t{1}, int64_t{1023}, int64_t{4096}, int64_t{1'000'000}, INT64_MAX}) {
    CHECK(ParseByteSize(FormatByteSize(bytes)).value() == bytes);
  }
}

TEST_CASE("Pixels have units of their own") {
  CHECK(ParsePixels("64Mpx").value() == 64'000'000);
  CHECK(ParsePixels("1000").value() == 1000);
  CHECK(FormatPixels(64'000'000) == "64Mpx");
  CHECK_FALSE(ParsePixels("64MiB").ok());
  CHECK_FALSE(ParseByteSize("64Mpx").ok());
}

}  // namespace
}  // namespace embedd
