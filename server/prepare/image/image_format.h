// SPDX-License-Identifier: Apache-2.0
//
// ImageFormat: the table of picture formats that the server knows: the word in --formats, the name in
// messages, how a file is recognised, whether it is read by default. A new format is one row here, one reader
// of its header (image_header.cc) and one decoder (file_decoder.cc). Pure data; knows no codec.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace embedd {

enum class ImageFormat : unsigned char { kJpeg, kPng, kWebp, kGif, kBmp, kTiff, kAvif, kHeic };

struct FormatRow {
  ImageFormat format;
  absl::string_view word;     // in --formats and in GetServerInfo
  absl::string_view name;     // in messages
  absl::string_view article;  // "a JPEG"
  bool on_by_default;
  bool (*recognises)(absl::string_view file);  // by the first bytes; never reads past the end
};

// In the order in which they are listed to people.
absl::Span<const FormatRow> AllFormats();
const FormatRow& RowOf(ImageFormat format);
absl::string_view ImageFormatName(ImageFormat format);

// The formats that a server reads.
class FormatSet {
 public:
  // Those that are on by default.
  FormatSet();
  // "jpeg,png": these only. "+heic,-tiff": the default ones with these changes. "all": every one.
  // kInvalidArgument names a word that is not known, and the known ones.
  static absl::StatusOr<FormatSet> Parse(absl::string_view list);
  static FormatSet All();

  bool Has(ImageFormat format) const { return (bits_ >> static_cast<int>(format) & 1) != 0; }
  void Set(ImageFormat format, bool on);
  std::vector<std::string> Words() const;
  // "JPEG, PNG or WebP"
  std::string Names() const;

 private:
  uint32_t bits_ = 0;
};

}  // namespace embedd
