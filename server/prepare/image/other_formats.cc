// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/other_formats.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

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
    {0, Bytes("\xFF\x0A"), "a JPEG XL"},
    {4, Bytes("JXL "), "a JPEG XL"},
    {4, Bytes("jP  "), "a JPEG 2000"},
    {0, Bytes("\xFF\x4F\xFF\x51"), "a JPEG 2000"},
    {0, Bytes("8BPS"), "a Photoshop"},
    {0, Bytes("\0\0\1\0"), "an ICO"},
    {0, Bytes("\0\0\2\0"), "a CUR"},
    {0, Bytes("%PDF"), "a PDF"},
    {0, Bytes("%!PS"), "a PostScript"},
    {4, Bytes("ftyp"), "an MP4 or similar video"},
    {0, Bytes("\x1A\x45\xDF\xA3"), "a Matroska or WebM video"},
    {0, Bytes("RIFF"), "an AVI, WAV or other RIFF"},
    {0, Bytes("PK\3\4"), "a ZIP"},
    {0, Bytes("\x1F\x8B"), "a gzip"},
    {0, Bytes("GIF8"), "a damaged GIF"},
    {0, Bytes("BM"), "a BMP of an unknown kind, or no BMP"},
};

// Text, told by how it begins in lower case, without byte order mark and blanks.
constexpr struct {
  absl::string_view start;
  absl::string_view name;
} kTexts[] = {
    {"<!doctype html", "an HTML"},
    {"<html", "an HTML"},
    {"<head", "an HTML"},
    {"<body", "an HTML"},
    {"<!doctype svg", "an SVG"},
    {"<svg", "an SVG"},
    {"<?xml", "an XML or SVG"},
    {"<!--", "an HTML, XML or SVG"},
    {"{", "a JSON"},
};

constexpr absl::string_view kBase64Starts[] = {"/9j/",       "iVBORw0KGgo", "UklGR",      "R0lGOD",
                                               "SUkqAA",     "TU0AKg",      "AAAAGGZ0eX", "AAAAHGZ0eX",
                                               "AAAAIGZ0eX", "AAAAFGZ0eX",  "AAAAJGZ0eX"};

// The start of a text as ASCII in lower case: byte order marks and blanks are skipped, and the zero bytes of
// UTF-16 and UTF-32 left out.
std::string StartOfText(absl::string_view file) {
  const bool wide = absl::StartsWith(file, "\xFF\xFE") || absl::StartsWith(file, "\xFE\xFF") ||
                    absl::StartsWith(file, Bytes("<\0")) || absl::StartsWith(file, Bytes("\0<"));
  if (absl::StartsWith(file, "\xFF\xFE") || absl::StartsWith(file, "\xFE\xFF")) file.remove_prefix(2);
  absl::ConsumePrefix(&file, "\xEF\xBB\xBF");
  std::string start;
  constexpr size_t kEnough = 64;
  for (const char c : file) {
    if (start.size() >= kEnough) break;
    if (wide && c == '\0') continue;
    if (start.empty() && absl::ascii_isspace(static_cast<unsigned char>(c))) continue;
    start.push_back(c);
  }
  return start;
}

// Only characters of base64 for a good while.
bool LooksLikeBase64(absl::string_view text) {
  constexpr size_t kEnough = 48;
  if (text.size() < kEnough) return false;
  return std::all_of(text.begin(), text.begin() + kEnough, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/' || c == '-' || c == '_';
  });
}

bool IsBase64(absl::string_view text) {
  if (absl::StartsWithIgnoreCase(text, "data:")) return true;
  for (const absl::string_view start : kBase64Starts) {
    if (absl::StartsWith(text, start)) return true;
  }
  return LooksLikeBase64(text);
}

}  // namespace

std::string DescribeOtherFormat(absl::string_view file, const FormatSet& formats) {
  const std::string send = absl::StrCat("send ", formats.Names());
  if (file.empty()) return absl::StrCat("the image is empty; ", send);
  for (const FormatRow& row : AllFormats()) {
    if (!row.recognises(file)) continue;
    return absl::StrCat("this looks like ", row.article, " file, which this server does not read (",
                        row.on_by_default ? "its --formats leave out " : "it would with --formats +",
                        row.word, "); ", send);
  }
  const std::string text = StartOfText(file);
  const std::string lower = absl::AsciiStrToLower(text);
  for (const auto& known : kTexts) {
    if (absl::StartsWith(lower, known.start)) {
      return absl::StrCat("this looks like ", known.name, " file, which is no picture; ", send);
    }
  }
  if (IsBase64(text)) {
    return "this looks like base64 text, not like an image; send the bytes of the file themselves";
  }
  for (const Magic& magic : kMagics) {
    if (file.size() >= magic.at && absl::StartsWith(file.substr(magic.at), magic.bytes)) {
      return absl::StrCat("this looks like ", magic.name, " file, which is not supported; ", send);
    }
  }
  return absl::StrCat("this is no image format known here; ", send);
}

}  // namespace embedd
