// SPDX-License-Identifier: Apache-2.0

#include "tests/support/faulty_decoder.h"

#include <utility>

namespace embedd {

void FaultyDecoder::FailNext(absl::Status status) {
  MutexLock lock(&mu_);
  next_.push_back(std::move(status));
}

void FaultyDecoder::FailAlways(absl::Status status) {
  MutexLock lock(&mu_);
  always_ = std::move(status);
}

int64_t FaultyDecoder::calls() const {
  MutexLock lock(&mu_);
  return calls_;
}

absl::Status FaultyDecoder::NextFault() const {
  MutexLock lock(&mu_);
  ++calls_;
  if (next_.empty()) return always_;
  absl::Status status = std::move(next_.front());
  next_.pop_front();
  return status;
}

absl::StatusOr<RgbImage> FaultyDecoder::Decode(absl::string_view file) const {
  if (absl::Status fault = NextFault(); !fault.ok()) return fault;
  if (inner_ != nullptr) return inner_->Decode(file);
  RgbImage image;
  image.width = 1;
  image.height = 1;
  image.rgb = std::make_unique<uint8_t[]>(3);
  return image;
}

}  // namespace embedd
