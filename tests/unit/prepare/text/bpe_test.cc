// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/bpe.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

Bpe Make(const std::vector<std::string>& pieces,
         const std::vector<std::pair<std::string, std::string>>& merges, Bpe::Options options = {}) {
  Bpe bpe;
  for (size_t i = 0; i < pieces.size(); ++i) REQUIRE(bpe.AddPiece(pieces[i], static_cast<int64_t>(i)).ok());
  for (const auto& [left, right] : merges) REQUIRE(bpe.AddMerge(left, right).ok());
  bpe.Finish(std::move(options));
  return bpe;
}

std::vector<int32_t> Ids(const Bpe& bpe, const std::string& word) {
  std::vector<int32_t> ids;
  bpe.Encode(word, ids);
  return ids;
}

TEST_CASE("The pair of the lowest rank is joined first, the leftmost of equal ones") {
  const Bpe bpe =
      Make({"a", "b", "c", "bc", "ab", "aa", "aaaa"}, {{"b", "c"}, {"a", "b"}, {"a", "a"}, {"aa", "aa"}});
  CHECK(Ids(bpe, "abc") == std::vector<int32_t>{0, 3});
  CHECK(Ids(bpe, "abab") == std::vector<int32_t>{4, 4});
  CHECK(Ids(bpe, "aaa") == std::vector<int32_t>{5, 0});
  CHECK(Ids(bpe, "aaaaa") == std::vector<int32_t>{6, 0});
  CHECK(Ids(bpe, "").empty());
}

TEST_CASE("The last character of a word is written with the word's end") {
  Bpe::Options options;
  options.end_of_word = "</w>";
  const Bpe bpe = Make({"a", "a</w>", "b", "b</w>", "ab</w>"}, {{"a", "b</w>"}}, options);
  CHECK(Ids(bpe, "aab") == std::vector<int32_t>{0, 4});
  CHECK(Ids(bpe, "a") == std::vector<int32_t>{1});
}

TEST_CASE("A character outside the vocabulary becomes bytes, or unknown, or nothing") {
  Bpe::Options options;
  CHECK(Ids(Make({"a"}, {}, options), "a\u00e9a") == std::vector<int32_t>{0, 0});
  options.unknown = 0;
  CHECK(Ids(Make({"?", "a"}, {}, options), "\u00e9\u00e9a") == std::vector<int32_t>{0, 0, 1});
  options.fuse_unknown = true;
  CHECK(Ids(Make({"?", "a"}, {}, options), "\u00e9\u00e9a") == std::vector<int32_t>{0, 1});
  options.byte_fallback = true;
  CHECK(Ids(Make({"?", "a", "<0xC3>", "<0xA9>"}, {}, options), "\u00e9\u6f22") ==
        std::vector<int32_t>{2, 3, 0});
}

TEST_CASE("What a vocabulary may not hold is refused") {
  Bpe bpe;
  REQUIRE(bpe.AddPiece("a", 0).ok());
  CHECK_FALSE(bpe.AddPiece("a", 1).ok());
  CHECK_FALSE(bpe.AddPiece("b", -1).ok());
  CHECK_FALSE(bpe.AddPiece("b", int64_t{1} << 40).ok());
  CHECK_FALSE(bpe.AddMerge("a", "b").ok());
}

}  // namespace
}  // namespace embedd
