// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/charsmap.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::string LittleEndian(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// A trie of "a" -> "X" and "ab" -> "Y". A unit: offset << 10, 1 << 8 where a key ends, the byte that leads to
// it.
std::string Blob() {
  std::vector<uint32_t> units(512, 0);
  const uint32_t root = 1, after_a = 256, after_b = 128;
  units[0] = root << 10;
  const uint32_t a = root ^ 'a';
  units[a] = (a ^ after_a) << 10 | 1u << 8 | 'a';
  units[after_a] = 0x80000000u | 0;
  const uint32_t b = after_a ^ 'b';
  units[b] = (b ^ after_b) << 10 | 1u << 8 | 'b';
  units[after_b] = 0x80000000u | 2;
  std::string blob = LittleEndian(static_cast<uint32_t>(units.size() * 4));
  for (const uint32_t unit : units) blob += LittleEndian(unit);
  return blob + std::string("X\0Y\0", 4);
}

TEST_CASE("The shortest and the longest key of a text are found") {
  const auto map = Charsmap::Parse(Blob());
  REQUIRE(map.ok());
  REQUIRE(map->Shortest("abc"));
  CHECK((map->Shortest("abc")->size == 1 && map->Shortest("abc")->replacement == "X"));
  REQUIRE(map->Longest("abc"));
  CHECK((map->Longest("abc")->size == 2 && map->Longest("abc")->replacement == "Y"));
  CHECK_FALSE(map->Longest("b"));
  CHECK_FALSE(map->Longest(""));
  CHECK(map->ApplyAsTokenizers(U"ab a\u0301 b", 1000) == U"Xb X b");  // the whole cluster goes
}

TEST_CASE("An empty map changes nothing, a broken one is refused, and no map reads outside itself") {
  CHECK(Charsmap::Parse("")->ApplyAsTokenizers(U"a\u0301", 1000) == U"a\u0301");
  CHECK_FALSE(Charsmap::Parse("abc").ok());
  CHECK_FALSE(Charsmap::Parse(LittleEndian(400) + "abcd").ok());
  CHECK_FALSE(Charsmap::Parse(LittleEndian(3) + "abcdefgh").ok());
  std::string wild = LittleEndian(1024);
  for (uint32_t i = 0; i < 256; ++i) wild += LittleEndian(0xfffff500u | i);
  const auto map = Charsmap::Parse(wild);
  REQUIRE(map.ok());
  for (char c = 1; c < 127; ++c)
    CHECK(map->Longest(std::string(3, c)).value_or(Charsmap::Match{0, ""}).size <= 3);
}

}  // namespace
}  // namespace embedd
