// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/webp_decoder.h"

#include <webp/decode.h>

namespace embedd {
namespace {

const uint8_t* Data(absl::string_view file) { return reinterpret_cast<const uint8_t*>(file.data()); }

}  // namespace

bool WebpDecoderTakes(absl::string_view file, const ImageHeader& header) {
  WebPBitstreamFeatures features;
  return header.format == ImageFormat::kWebp &&
         WebPGetFeatures(Data(file), file.size(), &features) == VP8_STATUS_OK && !features.has_animation;
}

absl::Status DecodeWebp(absl::string_view file, const ImageHeader& header, uint8_t* rgb) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(Data(file), file.size(), &features) != VP8_STATUS_OK ||
      features.width != header.width || features.height != header.height) {
    return DecodeError(Reason::kCorruptImage, "WebP: the header contradicts itself about the size");
  }
  const int stride = 3 * features.width;
  const size_t size = static_cast<size_t>(stride) * features.height;
  if (WebPDecodeRGBInto(Data(file), file.size(), rgb, size, stride) == nullptr) {
    return DecodeError(Reason::kCorruptImage, "WebP: the image data is damaged or cut short");
  }
  return absl::OkStatus();
}

}  // namespace embedd
