// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/other_formats.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// A literal that may hold zero bytes.
template <size_t kSize>
constexpr absl::string_view Bytes(const char (&text)[kSize]) {
  return absl::string_view(text, kSize - 1);
}

struct Magic {
  size_t at;
  absl::string_view bytes;
  absl::string_view name;
};

constexpr Magic kMagics[] = {
    {0, Bytes("GIF8"), "a GIF"},
    {0, Bytes("BM"), "a BMP"},
    {0, Bytes("II*\0"), "a TIFF"},
    {0, Bytes("MM\0*"), "a TIFF"},
    {4, Bytes("ftypavif"), "an AVIF"},
    {4, Bytes("ftypavis"), "an AVIF"},
    {4, Bytes("ftyphei"), "a HEIC"},
    {4, Bytes("ftyphev"), "a HEIC"},
    {4, Bytes("ftypmif1"), "a HEIF"},
    {0, Bytes("\xFF\x0A"), "a JPEG XL"},
    {4, Bytes("JXL "), "a JPEG XL"},
    {4, Bytes("jP  "), "a JPEG 2000"},
    {0, Bytes("\xFF\x4F\xFF\x51"), "a JPEG 2000"},
    {0, Bytes("8BPS"), "a Photoshop"},
    {0, Bytes("\0\0\1\0"), "an ICO"},
    {0, Bytes("%PDF"), "a PDF"},
    {0, Bytes("<svg"), "an SVG"},
    {0, Bytes("<?xml"), "an XML or SVG"},
    {0, Bytes("<!DOCTYPE"), "an HTML"},
    {0, Bytes("<html"), "an HTML"},
    {4, Bytes("ftyp"), "an MP4 or similar video"},
    {0, Bytes("PK\3\4"), "a ZIP"},
    {0, Bytes("\x1F\x8B"), "a gzip"},
};

constexpr absl::string_view kBase64Starts[] = {"data:image/", "/9j/", "iVBORw0KGgo", "UklGR", "R0lGOD"};

}  // namespace

std::string DescribeOtherFormat(absl::string_view file) {
  constexpr absl::string_view kSend = "send JPEG, PNG or WebP";
  if (file.empty()) return absl::StrCat("the image is empty; ", kSend);
  for (absl::string_view start : kBase64Starts) {
    if (absl::StartsWith(file, start)) {
      return "this looks like base64 text, not like an image; send the bytes of the file themselves";
    }
  }
  for (const Magic& magic : kMagics) {
    if (file.size() >= magic.at && absl::StartsWith(file.substr(magic.at), magic.bytes)) {
      return absl::StrCat("this looks like ", magic.name, " file, which is not supported; ", kSend);
    }
  }
  return absl::StrCat("this is no image format known here; ", kSend);
}

}  // namespace embedd
