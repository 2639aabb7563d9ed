// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/rows.h"

#include <cmath>
#include <limits>

#include "tests/support/catch.h"

namespace embedd::client::internal {
namespace {

v1::EmbedBatchResponse Answer(const std::vector<float>& rows, uint32_t dimension) {
  v1::EmbedBatchResponse answer;
  answer.set_dimension(dimension);
  answer.set_encoding(v1::ENCODING_FLOAT32);
  answer.set_data(rows.data(), rows.size() * 4);
  answer.set_model_fingerprint("m1");
  return answer;
}

TEST_CASE("Rows go to the places of their inputs and the others stay zero") {
  EmbedResult result;
  REQUIRE(PlaceAnswer(Answer({1, 2, 3, 4}, 2), std::vector<size_t>{3, 0}, 4, "a:1", "b:2", &result).ok());
  CHECK(result.rows == std::vector<float>{3, 4, 0, 0, 0, 0, 1, 2});
  CHECK(result.fingerprint == "m1");
}

TEST_CASE("Errors get the index of the input in the call") {
  auto answer = Answer({0, 0}, 1);
  auto* error = answer.add_errors();
  error->set_index(1);
  error->set_code(3);
  error->set_reason("CORRUPT_IMAGE");
  EmbedResult result;
  REQUIRE(PlaceAnswer(answer, std::vector<size_t>{4, 7}, 9, "a:1", "b:2", &result).ok());
  REQUIRE(result.errors.size() == 1);
  CHECK(result.errors[0].index == 7);
  CHECK(result.errors[0].code == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("An answer that does not fit the request is refused before it is used") {
  EmbedResult result;
  const std::vector<size_t> two{0, 1};
  CHECK(absl::IsInternal(PlaceAnswer(Answer({1, 2, 3}, 2), two, 2, "a:1", "b:2", &result)));
  CHECK(absl::IsInternal(PlaceAnswer(Answer({}, 0), two, 2, "a:1", "b:2", &result)));
  CHECK(absl::IsInternal(PlaceAnswer(Answer({}, 0xffffffff), two, 2, "a:1", "b:2", &result)));
  auto wrong_index = Answer({1, 2}, 1);
  wrong_index.add_errors()->set_index(2);
  CHECK(absl::IsInternal(PlaceAnswer(wrong_index, two, 2, "a:1", "b:2", &result)));
  auto wrong_encoding = Answer({1, 2}, 1);
  wrong_encoding.set_encoding(v1::ENCODING_FLOAT_LIST);
  CHECK(absl::IsInternal(PlaceAnswer(wrong_encoding, two, 2, "a:1", "b:2", &result)));
  CHECK(result.rows.empty());
}

TEST_CASE("Rows of two models never meet in one result") {
  EmbedResult result;
  REQUIRE(PlaceAnswer(Answer({1}, 1), std::vector<size_t>{0}, 2, "a:1", "b:2", &result).ok());
  auto other = Answer({2}, 1);
  other.set_model_fingerprint("m2");
  const auto status = PlaceAnswer(other, std::vector<size_t>{1}, 2, "a:1", "b:2", &result);
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(ErrorReason(status) == "MODEL_MISMATCH");
  CHECK(result.rows == std::vector<float>{1, 0});
}

TEST_CASE("Half floats arrive as the floats they are") {
  CHECK(HalfToFloat(0x3c00) == 1.0F);
  CHECK(HalfToFloat(0xc000) == -2.0F);
  CHECK(HalfToFloat(0x3555) == 0.333251953125F);
  CHECK(HalfToFloat(0x7bff) == 65504.0F);
  CHECK(HalfToFloat(0x0001) == std::ldexp(1.0F, -24));
  CHECK(HalfToFloat(0x0000) == 0.0F);
  CHECK(HalfToFloat(0x7c00) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(HalfToFloat(0x7e00)));
  v1::EmbedBatchResponse answer;
  answer.set_dimension(2);
  answer.set_encoding(v1::ENCODING_FLOAT16);
  answer.set_data(std::string("\x00\x3c\x00\xc0", 4));
  EmbedResult result;
  REQUIRE(PlaceAnswer(answer, std::vector<size_t>{0}, 1, "a:1", "b:2", &result).ok());
  CHECK(result.rows == std::vector<float>{1, -2});
}

}  // namespace
}  // namespace embedd::client::internal
