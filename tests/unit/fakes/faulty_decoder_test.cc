// SPDX-License-Identifier: Apache-2.0

#include "tests/support/faulty_decoder.h"

#include <utility>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("Without a fault a call reaches the decoder inside") {
  FaultyDecoder decoder(std::make_unique<FaultyDecoder>());
  const absl::StatusOr<RgbImage> image = decoder.Decode("anything");
  REQUIRE(image.ok());
  CHECK(image->width == 1);
  CHECK(image->height == 1);
  CHECK(image->rgb[0] == 0);
  CHECK(decoder.calls() == 1);
}

TEST_CASE("Faults told for the next calls come in order, one each") {
  FaultyDecoder decoder;
  decoder.FailNext(DecodeError(Reason::kCorruptImage, "first"));
  decoder.FailNext(absl::OkStatus());
  decoder.FailNext(DecodeError(Reason::kImageTooLarge, "third"));
  CHECK(DecodeReason(decoder.Decode("").status()) == Reason::kCorruptImage);
  CHECK(decoder.Decode("").ok());
  CHECK(DecodeReason(decoder.Decode("").status()) == Reason::kImageTooLarge);
  CHECK(decoder.Decode("").ok());
  CHECK(decoder.calls() == 4);
}

TEST_CASE("A lasting fault ends when it is set to OK") {
  FaultyDecoder decoder;
  decoder.FailAlways(absl::InternalError("broken"));
  CHECK(absl::IsInternal(decoder.Decode("").status()));
  CHECK(absl::IsInternal(decoder.Decode("").status()));
  decoder.FailAlways(absl::OkStatus());
  CHECK(decoder.Decode("").ok());
}

}  // namespace
}  // namespace embedd
