// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/sentencepiece.h"

#include <cstring>

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::string Field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string Number(int number, int value) {
  std::string bytes;
  int tag = number << 3;
  for (; tag > 0x7f; tag >>= 7) bytes.push_back(static_cast<char>(tag | 0x80));
  bytes.push_back(static_cast<char>(tag));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string Piece(const std::string& text, float score, int type) {
  std::string bytes(4, 0);
  std::memcpy(bytes.data(), &score, 4);
  return Field(1, Field(1, text) + std::string{0x15} + bytes + Number(3, type));
}

const std::string kModel = Piece("</s>", 0, 3) + Piece("<unk>", 0, 2) + Piece("\u2581", -3, 1) +
                           Piece("\u2581a", -1, 1) + Piece("b", -2, 1) + Piece("x y", -1, 4) +
                           Piece("old", -0.1f, 5);

TEST_CASE("Text is normalised and cut as sentencepiece does") {
  const auto model = SentencePiece::Parse(kModel, "m");
  REQUIRE(model.ok());
  CHECK(model->size() == 7);
  CHECK(model->Find("b") == 4);
  CHECK(model->Find("c") == -1);
  CHECK(model->Encode("  a  b ") == std::vector<int32_t>{3, 2, 4});
  CHECK(model->Encode("a\u6f22\u6f22old") == std::vector<int32_t>{3, 1});  // unused pieces are never taken
  CHECK(model->Encode("   ").empty());
  CHECK(model->Encode("</s>") == std::vector<int32_t>{2, 1});  // nor control ones
}

TEST_CASE("The normaliser's switches are followed") {
  const auto plain = SentencePiece::Parse(kModel + Field(3, Number(3, 0) + Number(4, 0)), "m");
  REQUIRE(plain.ok());
  CHECK(plain->Encode("a ") == std::vector<int32_t>{1, 2});
}

TEST_CASE("A file that is cut short, wrong or of another kind is refused by name") {
  for (size_t size = 0; size < kModel.size(); ++size) {
    const auto cut = SentencePiece::Parse(kModel.substr(0, size), "m");  // whole pieces still make a model
    if (!cut.ok()) CHECK(cut.status().message().substr(0, 3) == "m: ");
  }
  const auto refusal = [](const std::string& bytes) {
    return std::string(SentencePiece::Parse(bytes, "m").status().message());
  };
  CHECK(refusal("") == "m: holds no vocabulary");
  CHECK(refusal(kModel + Field(2, Number(3, 2))) == "m: model type 2 (1 is Unigram) is not read");
  CHECK(refusal(kModel + Field(2, Number(24, 1))) == "m: treat_whitespace_as_suffix is not read");
  CHECK(refusal(kModel + Field(2, Number(35, 1))) == "m: byte_fallback needs the piece <0x00>");
  CHECK(refusal(kModel + Piece("b", -1, 1)) == "m: piece 7 is there twice");
  CHECK(refusal(kModel + Piece("\xff", -1, 1)) == "m: piece 7 cannot be read");
  CHECK(refusal(kModel + Field(3, Field(2, "abc"))) == "m: the precompiled charsmap is cut short");
}

}  // namespace
}  // namespace embedd
