// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include <algorithm>
#include <vector>

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

TEST_CASE("A decoder that only decodes prepares what Preprocess makes of its picture") {
  class Grey final : public ImageDecoder {
   public:
    absl::StatusOr<RgbImage> Decode(absl::string_view file) const override {
      if (file.empty()) return DecodeError(Reason::kCorruptImage, "nothing");
      RgbImage image{.width = 2, .height = 1, .rgb = std::make_unique<uint8_t[]>(6)};
      std::fill_n(image.rgb.get(), 6, uint8_t{77});
      return image;
    }
  };
  ImageSpec spec;
  spec.width = spec.height = 4;
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  CHECK(Grey().Prepare("picture", spec, out.data()).ok());
  CHECK(std::all_of(out.begin(), out.end(), [](uint8_t v) { return v == 77; }));
  CHECK(DecodeReason(Grey().Prepare("", spec, out.data())) == Reason::kCorruptImage);
}

}  // namespace
}  // namespace embedd
