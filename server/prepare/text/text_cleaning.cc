// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/text_cleaning.h"

#include <algorithm>
#include <utility>

#include "server/prepare/text/html_entities.h"
#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

// The letters that are two for reasons of type or of old encodings; what stands for one is empty for all
// others.
std::u32string_view Ligature(char32_t c) {
  switch (c) {
    case 0x132:
      return U"IJ";
    case 0x133:
      return U"ij";
    case 0x149:
      return U"\u02bcn";
    case 0x1c4:
      return U"D\u017d";
    case 0x1c5:
      return U"D\u017e";
    case 0x1c6:
      return U"d\u017e";
    case 0x1c7:
      return U"LJ";
    case 0x1c8:
      return U"Lj";
    case 0x1c9:
      return U"lj";
    case 0x1ca:
      return U"NJ";
    case 0x1cb:
      return U"Nj";
    case 0x1cc:
      return U"nj";
    case 0x1f1:
      return U"DZ";
    case 0x1f2:
      return U"Dz";
    case 0x1f3:
      return U"dz";
    case 0xfb00:
      return U"ff";
    case 0xfb01:
      return U"fi";
    case 0xfb02:
      return U"fl";
    case 0xfb03:
      return U"ffi";
    case 0xfb04:
      return U"ffl";
    case 0xfb05:
      return U"\u017ft";
    case 0xfb06:
      return U"st";
    default:
      return {};
  }
}

bool IsRemoved(char32_t c) {
  return c <= 0x08 || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || (c >= 0x206a && c <= 0x206f) ||
         c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

// The length of a terminal's escape sequence (ESC [ 1;31 m) at `at`, or 0.
size_t EscapeSequence(std::u32string_view text, size_t at) {
  if (text[at] != 0x1b || at + 1 >= text.size() || text[at + 1] != U'[') return 0;
  size_t end = at + 2;
  while (end < text.size() && (text[end] == U';' || IsDecimalDigit(text[end]))) ++end;
  const char32_t last = end < text.size() ? text[end] : U'\0';
  return (last >= U'a' && last <= U'z') || (last >= U'A' && last <= U'Z') ? end + 1 - at : 0;
}

// The fixes that look at one character each, in ftfy's order: C1 controls, ligatures, widths, quotes, line
// breaks.
void AppendFixed(char32_t c, std::u32string& out) {
  c = FromWindows1252(c);
  if (c < 0x80 && c != U'\r') {
    out += c;
    return;
  }
  std::u32string expanded(Ligature(c));
  if (expanded.empty()) expanded.assign(1, c);
  if (c == 0x3000) expanded = U" ";
  if (c >= 0xff01 && c <= 0xffef) expanded = Nfkc(expanded);
  for (const char32_t part : expanded) {
    if (part == 0x2bc || (part >= 0x2018 && part <= 0x201b)) {
      out += U'\'';
    } else if (part >= 0x201c && part <= 0x201f) {
      out += U'"';
    } else if (part == U'\r' || part == 0x2028 || part == 0x2029) {
      out += U'\n';
    } else {
      out += part;
    }
  }
}

std::u32string OneRound(std::u32string_view text, bool unescape) {
  const std::u32string unescaped = unescape ? UnescapeHtmlAsFtfy(text) : std::u32string(text);
  std::u32string fixed;
  fixed.reserve(unescaped.size());
  for (size_t i = 0; i < unescaped.size(); ++i) {
    if (unescaped[i] == U'\r' && i + 1 < unescaped.size() && unescaped[i + 1] == U'\n') continue;
    AppendFixed(unescaped[i], fixed);
  }
  std::u32string kept;
  kept.reserve(fixed.size());
  for (size_t i = 0; i < fixed.size();) {
    if (const size_t size = EscapeSequence(fixed, i); size > 0) {
      i += size;
      continue;
    }
    if (!IsRemoved(fixed[i])) kept += fixed[i];
    ++i;
  }
  return Nfc(kept);
}

std::u32string FixSegment(std::u32string_view text, bool unescape) {
  std::u32string now(text);
  for (int round = 0; round < kMostRounds; ++round) {
    std::u32string next = OneRound(now, unescape);
    if (next == now) break;
    now = std::move(next);
  }
  return now;
}

std::u32string Strip(std::u32string_view text) {
  size_t begin = 0, end = text.size();
  while (begin < end && IsPythonSpace(text[begin])) ++begin;
  while (end > begin && IsPythonSpace(text[end - 1])) --end;
  return std::u32string(text.substr(begin, end - begin));
}

std::u32string BasicClean(std::u32string_view text) {
  return Strip(UnescapeHtml(UnescapeHtml(FixText(text))));
}

}  // namespace

std::u32string FixText(std::u32string_view text) {
  std::u32string out;
  bool unescape = true;
  for (size_t at = 0; at < text.size();) {
    const size_t line = text.find(U'\n', at);
    const size_t end = line == std::u32string_view::npos ? text.size() : line + 1;
    const std::u32string_view segment = text.substr(at, end - at);
    if (segment.find(U'<') != std::u32string_view::npos) unescape = false;  // from here on: it may be markup
    out += FixSegment(segment, unescape);
    at = end;
  }
  return out;
}

std::u32string CollapseSpaces(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  bool space = false;
  for (const char32_t c : text) {
    if (IsPythonSpace(c)) {
      space = true;
      continue;
    }
    if (space && !out.empty()) out += U' ';
    space = false;
    out += c;
  }
  return out;
}

std::u32string WithoutPunctuation(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const bool punctuation = (c >= 0x21 && c <= 0x2f) || (c >= 0x3a && c <= 0x40) ||
                             (c >= 0x5b && c <= 0x60) || (c >= 0x7b && c <= 0x7e);
    if (!punctuation) out += c;
  }
  return out;
}

std::u32string CleanAsSiglip(std::u32string_view text, bool lower) {
  return CollapseSpaces(WithoutPunctuation(lower ? Lower(text) : std::u32string(text)));
}

std::u32string CleanText(std::u32string_view text, TextCleaning mode) {
  switch (mode) {
    case TextCleaning::kNone:
    case TextCleaning::kLower:
      return std::u32string(text);
    case TextCleaning::kSiglip:
      return CleanAsSiglip(text);
    case TextCleaning::kOpenClipLower:
      return Lower(CollapseSpaces(BasicClean(text)));
    case TextCleaning::kOpenClipWhitespace:
      return CollapseSpaces(BasicClean(text));
    case TextCleaning::kOpenClipCanonicalize: {
      std::u32string clean = BasicClean(text);
      std::replace(clean.begin(), clean.end(), U'_', U' ');
      return CollapseSpaces(Lower(WithoutPunctuation(clean)));
    }
  }
  return std::u32string(text);
}

}  // namespace embedd
