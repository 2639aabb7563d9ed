// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/unigram.h"

#include <cmath>

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::vector<int32_t> Ids(const Unigram& model, const std::string& text) {
  std::vector<int32_t> ids;
  model.Encode(text, ids);
  return ids;
}

TEST_CASE("The cut with the best sum of scores wins") {
  Unigram model;
  REQUIRE(model
              .Build({{"a", -1, 1}, {"b", -1, 2}, {"ab", -1.5, 3}, {"abc", -9, 4}, {"c", -1, 5}},
                     {0, -20, {}}, Unigram::Arithmetic::kTokenizers)
              .ok());
  CHECK(Ids(model, "abc") == std::vector<int32_t>{3, 5});
  CHECK(Ids(model, "cab") == std::vector<int32_t>{5, 3});
  CHECK(Ids(model, "").empty());
}

TEST_CASE("A run of unknown characters is one token, or its bytes") {
  Unigram model;
  REQUIRE(model.Build({{"a", -1, 1}}, {0, -20, {}}, Unigram::Arithmetic::kTokenizers).ok());
  CHECK(Ids(model, "\u6f22\u00e9a\u6f22") == std::vector<int32_t>{0, 1, 0});
  std::vector<int32_t> bytes(256);
  for (int i = 0; i < 256; ++i) bytes[static_cast<size_t>(i)] = 1000 + i;
  REQUIRE(model.Build({{"a", -1, 1}}, {0, -20, bytes}, Unigram::Arithmetic::kTokenizers).ok());
  CHECK(Ids(model, "a\u00e9") == std::vector<int32_t>{1, 1000 + 0xc3, 1000 + 0xa9});
}

TEST_CASE("Pieces that are the same, empty, endless or without a score are refused") {
  const auto builds = [](std::vector<Unigram::Piece> pieces) {
    Unigram model;
    return model.Build(std::move(pieces), {0, -20, {}}, Unigram::Arithmetic::kTokenizers).ok();
  };
  CHECK(builds({{"a", -1, 1}}));
  CHECK_FALSE(builds({{"a", -1, 1}, {"a", -2, 2}}));
  CHECK_FALSE(builds({{"", -1, 1}}));
  CHECK_FALSE(builds({{std::string(513, 'a'), -1, 1}}));
  CHECK_FALSE(builds({{"a", std::nan(""), 1}}));
}

}  // namespace
}  // namespace embedd
