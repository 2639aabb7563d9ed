// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/unicode.h"

#include <unicode/brkiter.h>
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <memory>

namespace embedd {
namespace {

icu::UnicodeString ToIcu(std::u32string_view text) {
  return icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()),
                                       static_cast<int32_t>(text.size()));
}

std::u32string FromIcu(const icu::UnicodeString& text) {
  std::u32string out;
  out.reserve(static_cast<size_t>(text.length()));
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1))
    out += static_cast<char32_t>(text.char32At(i));
  return out;
}

bool IsAscii(std::u32string_view text) {
  for (const char32_t c : text) {
    if (c > 0x7f) return false;
  }
  return true;
}

std::u32string Normalized(std::u32string_view text, const icu::Normalizer2* (*instance)(UErrorCode&)) {
  if (IsAscii(text)) return std::u32string(text);
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = instance(error);
  if (U_FAILURE(error))
    return std::u32string(text);  // ICU without its data: no text tower would start (unicode_test)
  const icu::UnicodeString out = form->normalize(ToIcu(text), error);
  return U_FAILURE(error) ? std::u32string(text) : FromIcu(out);
}

}  // namespace

std::u32string ToCodePoints(absl::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(utf8.data());
  for (size_t i = 0; i < utf8.size();) {
    UChar32 c = 0;
    U8_NEXT_OR_FFFD(bytes, i, utf8.size(), c);
    out += static_cast<char32_t>(c);
  }
  return out;
}

void AppendUtf8(std::string& to, char32_t c) {
  if (c < 0x80) {
    to += static_cast<char>(c);
    return;
  }
  uint8_t bytes[U8_MAX_LENGTH];
  size_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, static_cast<UChar32>(c));
  to.append(reinterpret_cast<const char*>(bytes), size);
}

std::string ToUtf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) AppendUtf8(out, c);
  return out;
}

bool IsWhiteSpace(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }
bool IsPythonSpace(char32_t c) { return (c >= 0x1c && c <= 0x1f) || IsWhiteSpace(c); }

bool IsLetter(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_L_MASK) != 0; }
bool IsNumber(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK) != 0; }

bool IsDecimalDigit(char32_t c) { return u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER; }

std::u32string Nfc(std::u32string_view text) { return Normalized(text, &icu::Normalizer2::getNFCInstance); }
std::u32string Nfkc(std::u32string_view text) { return Normalized(text, &icu::Normalizer2::getNFKCInstance); }

std::u32string Lower(std::u32string_view text) {
  if (IsAscii(text)) return LowerEach(text);
  return FromIcu(ToIcu(text).toLower(icu::Locale::getRoot()));
}

std::u32string LowerEach(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0x130) {
      out += U"i\u0307";  // the only character whose lower case is two
    } else {
      out += static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
    }
  }
  return out;
}

std::u32string Upper(std::u32string_view text) {
  return FromIcu(ToIcu(text).toUpper(icu::Locale::getRoot()));
}

std::vector<size_t> GraphemeEnds(std::u32string_view text) {
  std::vector<size_t> ends;
  UErrorCode error = U_ZERO_ERROR;
  // Made once per thread: making one reads its rules.
  thread_local const std::unique_ptr<icu::BreakIterator> clusters(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  if (IsAscii(text) || clusters == nullptr) {
    for (size_t i = 1; i <= text.size(); ++i) {
      if (i < text.size() && text[i - 1] == U'\r' && text[i] == U'\n') continue;
      ends.push_back(i);
    }
    return ends;
  }
  const icu::UnicodeString utf16 = ToIcu(text);
  clusters->setText(utf16);
  clusters->first();
  int32_t at16 = 0;
  size_t at = 0;
  for (int32_t end = clusters->next(); end != icu::BreakIterator::DONE; end = clusters->next()) {
    for (; at16 < end; at16 = utf16.moveIndex32(at16, 1)) ++at;
    ends.push_back(at);
  }
  return ends;
}

}  // namespace embedd
