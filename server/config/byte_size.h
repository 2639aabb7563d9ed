// SPDX-License-Identifier: Apache-2.0
//
// Sizes as people write them: 64MiB, 512MB, 1.5GiB, 4096; and picture sizes: 64Mpx. Used for flags.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

// Bytes: a number, then nothing, B, KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000);
// case does not matter. InvalidArgument for anything else, a negative value, or one above 2^63 - 1.
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);
// The largest unit that divides it: 67108864 -> "64MiB", 512000000 -> "512MB", 1025 -> "1025". ParseByteSize
// reads it back.
std::string FormatByteSize(int64_t bytes);

// Pixels: a number, then nothing, px, kpx, Mpx or Gpx (powers of 1000).
absl::StatusOr<int64_t> ParsePixels(absl::string_view text);
std::string FormatPixels(int64_t pixels);

}  // namespace embedd
