// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A decode error carries its reason beside the message") {
  const absl::Status status = DecodeError(kCorruptImage, "cut short");
  CHECK(absl::IsInvalidArgument(status));
  CHECK(status.message() == "cut short");
  CHECK(DecodeReason(status) == "CORRUPT_IMAGE");
}

TEST_CASE("Any other status has no reason") {
  CHECK(DecodeReason(absl::OkStatus()).empty());
  CHECK(DecodeReason(absl::InvalidArgumentError("x")).empty());
}

}  // namespace
}  // namespace embedd
