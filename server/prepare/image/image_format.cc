// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/image_format.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd {
namespace {

// A literal that may hold zero bytes.
template <size_t kSize>
constexpr absl::string_view Bytes(const char (&text)[kSize]) {
  return absl::string_view(text, kSize - 1);
}

uint32_t Byte(absl::string_view s, size_t at) { return static_cast<unsigned char>(s[at]); }

bool IsJpeg(absl::string_view s) { return absl::StartsWith(s, "\xFF\xD8\xFF"); }
bool IsPng(absl::string_view s) { return absl::StartsWith(s, "\x89PNG\r\n\x1A\n"); }
bool IsWebp(absl::string_view s) {
  return absl::StartsWith(s, "RIFF") && s.size() >= 12 && s.substr(8, 4) == "WEBP";
}
bool IsGif(absl::string_view s) { return absl::StartsWith(s, "GIF87a") || absl::StartsWith(s, "GIF89a"); }

// "BM" begins many a text: the size of the second header decides.
bool IsBmp(absl::string_view s) {
  if (!absl::StartsWith(s, "BM") || s.size() < 10) return false;
  if (s.size() < 18) return s.substr(6, 4) == Bytes("\0\0\0\0");
  const uint32_t size = Byte(s, 14) | Byte(s, 15) << 8 | Byte(s, 16) << 16 | Byte(s, 17) << 24;
  constexpr uint32_t kSizes[] = {12, 40, 52, 56, 64, 108, 124};
  return std::find(std::begin(kSizes), std::end(kSizes), size) != std::end(kSizes);
}

bool IsTiff(absl::string_view s) {
  return absl::StartsWith(s, Bytes("II*\0")) || absl::StartsWith(s, Bytes("MM\0*")) ||
         absl::StartsWith(s, Bytes("II+\0")) || absl::StartsWith(s, Bytes("MM\0+"));
}

// True when one of `brands` is the major or a compatible brand of an ISO media file.
bool HasBrand(absl::string_view s, std::initializer_list<absl::string_view> brands) {
  if (s.size() < 12 || s.substr(4, 4) != "ftyp") return false;
  const uint64_t size = Byte(s, 0) << 24 | Byte(s, 1) << 16 | Byte(s, 2) << 8 | Byte(s, 3);
  const size_t end = static_cast<size_t>(std::min<uint64_t>({size, s.size(), 1024}));
  for (size_t at = 8; at + 4 <= end;
       at += at == 8 ? 8 : 4) {  // the four bytes after the major brand are a version
    if (std::find(brands.begin(), brands.end(), s.substr(at, 4)) != brands.end()) return true;
  }
  return false;
}

bool IsAvif(absl::string_view s) { return HasBrand(s, {"avif", "avis"}); }
bool IsHeic(absl::string_view s) {
  return !IsAvif(s) && HasBrand(s, {"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1",
                                    "mif2", "msf1", "mif3"});
}

// clang-format off
constexpr FormatRow kRows[] = {
    {ImageFormat::kJpeg, "jpeg", "JPEG", "a JPEG", true, IsJpeg},
    {ImageFormat::kPng, "png", "PNG", "a PNG", true, IsPng},
    {ImageFormat::kWebp, "webp", "WebP", "a WebP", true, IsWebp},
    {ImageFormat::kGif, "gif", "GIF", "a GIF", true, IsGif},
    {ImageFormat::kBmp, "bmp", "BMP", "a BMP", true, IsBmp},
    {ImageFormat::kTiff, "tiff", "TIFF", "a TIFF", true, IsTiff},
    {ImageFormat::kAvif, "avif", "AVIF", "an AVIF", true, IsAvif},
    {ImageFormat::kHeic, "heic", "HEIC", "a HEIC or HEIF", false, IsHeic},
};
// clang-format on

const FormatRow* Find(absl::string_view word) {
  for (const FormatRow& row : kRows) {
    if (row.word == word) return &row;
  }
  if (word == "jpg") return &RowOf(ImageFormat::kJpeg);
  if (word == "tif") return &RowOf(ImageFormat::kTiff);
  if (word == "heif") return &RowOf(ImageFormat::kHeic);
  return nullptr;
}

std::string KnownWords() {
  return absl::StrJoin(kRows, ", ",
                       [](std::string* out, const FormatRow& row) { absl::StrAppend(out, row.word); });
}

}  // namespace

absl::Span<const FormatRow> AllFormats() { return kRows; }

const FormatRow& RowOf(ImageFormat format) { return kRows[static_cast<size_t>(format)]; }

absl::string_view ImageFormatName(ImageFormat format) { return RowOf(format).name; }

FormatSet::FormatSet() {
  for (const FormatRow& row : kRows) Set(row.format, row.on_by_default);
}

FormatSet FormatSet::All() {
  FormatSet set;
  for (const FormatRow& row : kRows) set.Set(row.format, true);
  return set;
}

void FormatSet::Set(ImageFormat format, bool on) {
  const uint32_t bit = uint32_t{1} << static_cast<int>(format);
  bits_ = on ? bits_ | bit : bits_ & ~bit;
}

absl::StatusOr<FormatSet> FormatSet::Parse(absl::string_view list) {
  if (absl::StripAsciiWhitespace(list) == "all") return All();
  FormatSet set;
  bool first = true;
  bool changes = false;
  for (absl::string_view part : absl::StrSplit(list, ',')) {
    part = absl::StripAsciiWhitespace(part);
    const bool plus = absl::ConsumePrefix(&part, "+");
    const bool minus = !plus && absl::ConsumePrefix(&part, "-");
    const FormatRow* row = Find(absl::AsciiStrToLower(part));
    if (row == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("\"", part, "\" is no format known here; known are ",
                                                     KnownWords(),
                                                     " (jpeg,png for these only, +heic or -tiff for "
                                                     "the usual ones and a change)"));
    }
    if (first) {
      changes = plus || minus;
      if (!changes) set.bits_ = 0;
    } else if (changes != (plus || minus)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", list, "\" mixes formats with and without a sign; give jpeg,png or +heic,-tiff"));
    }
    set.Set(row->format, !minus);
    first = false;
  }
  if (set.bits_ == 0)
    return absl::InvalidArgumentError(absl::StrCat("\"", list, "\" leaves no format to read"));
  return set;
}

std::vector<std::string> FormatSet::Words() const {
  std::vector<std::string> words;
  for (const FormatRow& row : kRows) {
    if (Has(row.format)) words.emplace_back(row.word);
  }
  return words;
}

std::string FormatSet::Names() const {
  std::vector<absl::string_view> names;
  for (const FormatRow& row : kRows) {
    if (Has(row.format)) names.push_back(row.name);
  }
  if (names.size() == 1) return std::string(names[0]);
  const absl::string_view last = names.back();
  names.pop_back();
  return absl::StrCat(absl::StrJoin(names, ", "), " or ", last);
}

}  // namespace embedd
