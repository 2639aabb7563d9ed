// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/html_entities.h"

#include <algorithm>
#include <iterator>

#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

struct Entity {
  absl::string_view name;  // with its ';' where it has one
  char32_t first;
  char32_t second;  // 0: none
};

constexpr Entity kEntities[] = {
#include "server/prepare/text/html_entities.inc"
};

constexpr size_t kLongestName = 32;      // html.unescape looks at no more
constexpr size_t kLongestFtfyName = 24;  // nor ftfy at more than that

bool IsAsciiDigit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool IsAsciiLetter(char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'); }

int HexValue(char32_t c) {
  if (IsAsciiDigit(c)) return static_cast<int>(c - U'0');
  if (c >= U'a' && c <= U'f') return static_cast<int>(c - U'a') + 10;
  if (c >= U'A' && c <= U'F') return static_cast<int>(c - U'A') + 10;
  return -1;
}

// Empty when there is no such name. No name has a character outside ASCII.
std::u32string Named(std::u32string_view name) {
  std::string ascii;
  for (const char32_t c : name) {
    if (c > 0x7f) return {};
    ascii += static_cast<char>(c);
  }
  const auto* found =
      std::lower_bound(std::begin(kEntities), std::end(kEntities), ascii,
                       [](const Entity& entity, const std::string& key) { return entity.name < key; });
  if (found == std::end(kEntities) || found->name != ascii) return {};
  std::u32string value(1, found->first);
  if (found->second != 0) value += found->second;
  return value;
}

std::u32string Numbered(char32_t number) {
  if (number == 0) return U"\ufffd";
  if (number == U'\r') return U"\r";
  if (number >= 0x80 && number <= 0x9f) return std::u32string(1, FromWindows1252(number));
  if ((number >= 0xd800 && number <= 0xdfff) || number > 0x10ffff) return U"\ufffd";
  const bool control =
      (number <= 0x1f && number != U'\t' && number != U'\n' && number != U'\f') || number == 0x7f;
  const bool no_character = (number >= 0xfdd0 && number <= 0xfdef) || (number & 0xfffe) == 0xfffe;
  return control || no_character ? std::u32string() : std::u32string(1, number);
}

// Reads the reference that begins at text[at] == '&': appends what it stands for and returns how long it is,
// or returns 0.
size_t ReadReference(std::u32string_view text, size_t at, std::u32string& out) {
  size_t end = at + 1;
  const auto peek = [&](size_t i) { return i < text.size() ? text[i] : U'\0'; };
  if (peek(end) == U'#') {
    const bool hex = peek(end + 1) == U'x' || peek(end + 1) == U'X';
    end += hex ? 2 : 1;
    const size_t digits = end;
    char32_t number = 0;
    for (; end < text.size() && (hex ? HexValue(text[end]) >= 0 : IsAsciiDigit(text[end])); ++end) {
      number =
          std::min<char32_t>(number * (hex ? 16 : 10) + static_cast<char32_t>(HexValue(text[end])), 0x110000);
    }
    if (end == digits) return 0;
    out += Numbered(number);
  } else {
    const auto in_name = [](char32_t c) {
      return std::u32string_view(U"\t\n\f <&#;").find(c) == std::u32string_view::npos;
    };
    while (end < text.size() && end - at <= kLongestName && in_name(text[end])) ++end;
    if (end == at + 1) return 0;
    const size_t name_end = end;
    if (peek(end) == U';') ++end;
    std::u32string value = Named(text.substr(at + 1, end - at - 1));
    if (!value.empty()) {
      out += value;
      return end - at;
    }
    // The longest name that it begins with, of two letters or more; never with the ';'.
    for (size_t size = std::min(end - at - 2, name_end - at - 1); size > 1; --size) {
      value = Named(text.substr(at + 1, size));
      if (value.empty()) continue;
      out += value;
      out += text.substr(at + 1 + size, end - at - 1 - size);
      return end - at;
    }
    out += text.substr(at, end - at);
    return end - at;
  }
  if (peek(end) == U';') ++end;
  return end - at;
}

// The value of &NAME; as ftfy knows it: HTML's, or the capital form of a name that HTML has in small letters
// only.
std::u32string FtfyNamed(std::u32string_view name) {
  std::u32string value = Named(name);
  if (!value.empty()) return value;
  std::u32string lower;
  for (const char32_t c : name) {
    if (c >= U'a' && c <= U'z') return {};
    lower += c >= U'A' && c <= U'Z' ? c + 32 : c;
  }
  value = Named(lower);
  if (value.empty()) return {};
  const std::u32string whole = U"&" + std::u32string(name);
  return UnescapeHtml(whole) == whole ? Upper(value) : std::u32string();
}

}  // namespace

char32_t FromWindows1252(char32_t c) {
  constexpr char32_t kTable[32] = {0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
                                   0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d,   0x017d, 0x8f,
                                   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                   0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178};
  return c >= 0x80 && c <= 0x9f ? kTable[c - 0x80] : c;
}

std::u32string UnescapeHtml(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t size = text[i] == U'&' ? ReadReference(text, i, out) : 0;
    if (size == 0) out += text[i];
    i += std::max<size_t>(size, 1);
  }
  return out;
}

std::u32string UnescapeHtmlAsFtfy(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (text[i] == U'&') {
      size_t end = i + 1;
      const bool number = end < text.size() && text[end] == U'#';
      if (number) ++end;
      const size_t begin = end;
      while (end < text.size() && end - begin < kLongestFtfyName &&
             (IsAsciiDigit(text[end]) || IsAsciiLetter(text[end])))
        ++end;
      if (end > begin && end < text.size() && text[end] == U';') {
        const std::u32string_view whole = text.substr(i, end + 1 - i);
        if (!number) {
          const std::u32string value = FtfyNamed(whole.substr(1));
          out += value.empty() ? std::u32string(whole) : value;
        } else {
          const std::u32string value = UnescapeHtml(whole);
          out += value.find(U';') == std::u32string::npos ? value : std::u32string(whole);
        }
        i = end + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

}  // namespace embedd
