// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/lab_to_rgb.h"

#include <lcms2.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

// Null when there is no memory. Without the cache of the last pixel, threads share it.
cmsHTRANSFORM MakeTransform() {
  cmsHPROFILE lab = cmsCreateLab2Profile(nullptr);
  cmsHPROFILE srgb = cmsCreate_sRGBProfile();
  cmsHTRANSFORM transform = nullptr;
  if (lab != nullptr && srgb != nullptr) {
    transform = cmsCreateTransform(lab, TYPE_Lab_8, srgb, TYPE_RGB_8, INTENT_PERCEPTUAL, cmsFLAGS_NOCACHE);
  }
  if (lab != nullptr) cmsCloseProfile(lab);
  if (srgb != nullptr) cmsCloseProfile(srgb);
  return transform;
}

}  // namespace

absl::Status LabToRgb(uint8_t* pixels, int64_t count, bool is_signed) {
  static const cmsHTRANSFORM transform = MakeTransform();
  if (transform == nullptr) return NoHostMemory();
  constexpr int64_t kAtOnce = int64_t{1} << 20;
  for (; count > 0; count -= kAtOnce, pixels += 3 * kAtOnce) {
    const int64_t some = std::min(count, kAtOnce);
    for (int64_t i = 0; is_signed && i < 3 * some; i += 3) {
      pixels[i + 1] ^= 0x80;
      pixels[i + 2] ^= 0x80;
    }
    cmsDoTransform(transform, pixels, pixels, static_cast<cmsUInt32Number>(some));
  }
  return absl::OkStatus();
}

std::string LcmsVersion() {
  const int version = cmsGetEncodedCMMversion();
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

}  // namespace embedd
