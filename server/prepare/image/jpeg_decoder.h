// SPDX-License-Identifier: Apache-2.0
//
// JpegDecoder: JPEG files of every coding: baseline, progressive, arithmetic, through libjpeg-turbo, and
// lossless; grey, YCbCr, RGB, CMYK, YCCK. Called by FileDecoder.
//
// The library goes on after most damage and paints what is missing grey. Here a file is read when every pixel
// is there, and refused when pixels are lost, whatever the warning was called.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/preprocess.h"
#include "server/prepare/image/row_target.h"

namespace embedd {

struct JpegOptions {
  // Each side becomes ShrunkSide of it; not for the lossless coding. libjpeg leaves out high frequencies
  // before the inverse transform, which costs less than it saves.
  int shrink = 1;
  // Pixels that are wanted; others may hold any value. Only with shrink = 1. Empty: all.
  PixelRegion region;
};

// Decodes `file` into `rows`; rows outside of the region may not come. Thread-safe. Errors: CORRUPT_IMAGE;
// UNSUPPORTED_FORMAT for what the library does not read, and for two components, which have no defined
// meaning; HOST_MEMORY.
absl::Status DecodeJpeg(absl::string_view file, const ImageHeader& header, RowTarget* rows,
                        const JpegOptions& options = {});

// Of the headers that this was built with.
std::string JpegVersion();

}  // namespace embedd
