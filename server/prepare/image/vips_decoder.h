// SPDX-License-Identifier: Apache-2.0
//
// VipsDecoder: the ImageDecoder over libvips. Only decodes: resizing is Pillow's and lives in preprocess.h.
// vips_decoder.cc is the only file that sees libvips.

#pragma once

#include <memory>
#include <string>

#include "server/prepare/image/image_decoder.h"

namespace embedd {

class VipsDecoder : public ImageDecoder {
 public:
  // Starts libvips once per process: one thread per decode, no operation cache, and no loader but those of
  // JPEG, PNG and WebP. kInternal when libvips does not start or lacks one of the three.
  static absl::StatusOr<std::unique_ptr<VipsDecoder>> Create(const Limits& limits);

  // What Decode promises, and: an animation gives its first frame, EXIF orientation and ICC profiles are
  // ignored, a truncated file is an error. A thread that decodes gives back what libvips keeps for it when it
  // ends.
  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override;

  // Of the library at run time, such as "8.14.1".
  static std::string LibraryVersion();

 private:
  explicit VipsDecoder(const Limits& limits) : limits_(limits) {}

  const Limits limits_;
};

}  // namespace embedd
