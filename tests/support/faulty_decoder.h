// SPDX-License-Identifier: Apache-2.0
//
// FaultyDecoder: an ImageDecoder for tests. Passes calls on to another decoder, and fails those it was told
// to fail.

#pragma once

#include <deque>
#include <memory>

#include "absl/strings/string_view.h"
#include "server/prepare/image/image_decoder.h"
#include "server/support/mutex.h"

namespace embedd {

class FaultyDecoder : public ImageDecoder {
 public:
  // `inner` may be null: then a call that is not told to fail gives a black image of 1x1.
  explicit FaultyDecoder(std::unique_ptr<ImageDecoder> inner = nullptr) : inner_(std::move(inner)) {}

  // The next calls end with these, one each, in the order given. An OK status lets its call pass.
  void FailNext(absl::Status status);
  // Every call ends with `status`, until it is OK again. FailNext comes first.
  void FailAlways(absl::Status status);

  int64_t calls() const;

  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override;

 private:
  absl::Status NextFault() const;

  const std::unique_ptr<ImageDecoder> inner_;
  mutable Mutex mu_;
  mutable std::deque<absl::Status> next_ ABSL_GUARDED_BY(mu_);
  absl::Status always_ ABSL_GUARDED_BY(mu_);
  mutable int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace embedd
