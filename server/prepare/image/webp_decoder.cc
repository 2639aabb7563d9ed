// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/webp_decoder.h"

#include <webp/decode.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("WebP: ", what));
}

struct Frame {
  absl::string_view data;  // of VP8 or VP8L, without its chunk header
  bool placed = false;     // on a canvas of its own size otherwise
  int64_t x = 0, y = 0, width = 0, height = 0;
};

// The first picture among the chunks of `s`; one that is cut short is given as far as it goes.
std::optional<Frame> FindFrame(absl::string_view s) {
  while (s.size() >= 8) {
    const absl::string_view kind = s.substr(0, 4);
    const uint64_t length = Little32(s, 4);
    const absl::string_view body = s.substr(8, static_cast<size_t>(length));
    if (kind == "VP8 " || kind == "VP8L") {
      Frame frame;
      frame.data = body;
      return frame;
    }
    constexpr size_t kFrameHeader = 16;
    if (kind == "ANMF" && body.size() >= kFrameHeader) {
      std::optional<Frame> frame = FindFrame(body.substr(kFrameHeader));
      if (!frame || frame->placed) return std::nullopt;
      frame->placed = true;
      frame->x = 2 * int64_t{Little24(body, 0)};
      frame->y = 2 * int64_t{Little24(body, 3)};
      frame->width = int64_t{Little24(body, 6)} + 1;
      frame->height = int64_t{Little24(body, 9)} + 1;
      return frame;
    }
    const uint64_t padded = 8 + length + length % 2;
    if (padded >= s.size()) break;
    s.remove_prefix(static_cast<size_t>(padded));
  }
  return std::nullopt;
}

}  // namespace

absl::Status DecodeWebp(absl::string_view file, const ImageHeader& header, uint8_t* rgb) {
  constexpr size_t kContainerHeader = 12;
  constexpr absl::string_view kContradiction = "the header contradicts itself about the size";
  std::optional<Frame> frame = FindFrame(file.substr(kContainerHeader));
  if (!frame) return Corrupt("the file ends before its image data");
  if (!frame->placed) {
    frame->width = header.width;
    frame->height = header.height;
  }
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0)
    return absl::InternalError("libwebp is of another version than its headers");
  if (WebPGetFeatures(Data(frame->data), frame->data.size(), &config.input) != VP8_STATUS_OK)
    return Corrupt("the image data is damaged or cut short");
  if (config.input.width != frame->width || config.input.height != frame->height ||
      frame->x + frame->width > header.width || frame->y + frame->height > header.height) {
    return Corrupt(kContradiction);
  }
  const bool whole = frame->width == header.width && frame->height == header.height;
  if (!whole) std::memset(rgb, 0, static_cast<size_t>(3 * header.width * header.height));
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = rgb + 3 * (frame->y * header.width + frame->x);
  config.output.u.RGBA.stride = static_cast<int>(3 * header.width);
  config.output.u.RGBA.size = static_cast<size_t>(3 * (header.width * (frame->height - 1) + frame->width));
  switch (WebPDecode(Data(frame->data), frame->data.size(), &config)) {
    case VP8_STATUS_OK:
      return absl::OkStatus();
    case VP8_STATUS_OUT_OF_MEMORY:
      return NoHostMemory();
    default:
      return Corrupt("the image data is damaged or cut short");
  }
}

std::string WebpVersion() {
  const int version = WebPGetDecoderVersion();
  return absl::StrCat(version >> 16, ".", version >> 8 & 255, ".", version & 255);
}

}  // namespace embedd
