// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("A decode error carries its reason beside the message") {
  const absl::Status status = DecodeError(Reason::kCorruptImage, "cut short");
  CHECK(absl::IsInvalidArgument(status));
  CHECK(status.message() == "cut short");
  CHECK(DecodeReason(status) == Reason::kCorruptImage);
}

TEST_CASE("Any other status has no reason") {
  CHECK(DecodeReason(absl::OkStatus()) == Reason::kNone);
  CHECK(DecodeReason(absl::InvalidArgumentError("x")) == Reason::kNone);
}

}  // namespace
}  // namespace embedd
