// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_decoder.h"

#include <optional>

#include "absl/strings/cord.h"
#include "server/prepare/image/preprocess.h"

namespace embedd {
namespace {

constexpr char kDecodeReasonUrl[] = "embedd/decode-reason";

}  // namespace

absl::Status ImageDecoder::Prepare(absl::string_view file, const ImageSpec& spec, uint8_t* out) const {
  const absl::StatusOr<RgbImage> image = Decode(file);
  if (!image.ok()) return image.status();
  Preprocess(image->rgb.get(), image->width, image->height, spec, out);
  return absl::OkStatus();
}

absl::Status DecodeError(Reason reason, absl::string_view message) {
  absl::Status status = ReasonError(reason, message);
  status.SetPayload(kDecodeReasonUrl, absl::Cord(std::string(ReasonWord(reason))));
  return status;
}

Reason DecodeReason(const absl::Status& status) {
  const absl::optional<absl::Cord> reason = status.GetPayload(kDecodeReasonUrl);
  return reason ? ReasonOfWord(std::string(*reason)) : Reason::kNone;
}

absl::Status NoHostMemory() {
  return DecodeError(Reason::kHostMemory,
                     "the server has no memory for this image now; try again, or send a smaller one");
}

}  // namespace embedd
