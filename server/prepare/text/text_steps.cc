// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/text_steps.h"

#include <algorithm>
#include <array>
#include <utility>

#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

std::u32string Replace(std::u32string_view text, std::u32string_view from, std::u32string_view to) {
  std::u32string out;
  size_t at = 0;
  while (out.size() < kLongestNormal) {
    const size_t found = text.find(from, at);
    out += text.substr(at, found == std::u32string_view::npos ? found : found - at);
    if (found == std::u32string_view::npos) break;
    out += to;
    at = found + from.size();
  }
  return out;
}

std::u32string ReplaceSpaces(std::u32string_view text, const NormalizeStep& step) {
  const auto is_space = [&](char32_t c) { return step.any_space ? IsWhiteSpace(c) : c == U' '; };
  std::u32string out;
  for (size_t i = 0; i < text.size() && out.size() < kLongestNormal;) {
    size_t end = i;
    while (end < text.size() && is_space(text[end])) ++end;
    if (end - i >= step.shortest) {
      out += step.to;
    } else {
      end = std::max(end, i + 1);
      out += text.substr(i, end - i);
    }
    i = end;
  }
  return out;
}

// Whether `text` has `word` at `at`; without case a long s (U+017F) is an s too, as in Unicode's case
// folding.
bool HasAt(std::u32string_view text, size_t at, std::u32string_view word, bool ignore_case) {
  if (word.size() > text.size() - at) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    char32_t c = text[at + i];
    if (ignore_case) {
      if (c >= U'A' && c <= U'Z') c += 32;
      if (c == 0x17f) c = U's';
    }
    if (c != word[i]) return false;
  }
  return true;
}

// What belongs to no word. Without case the pattern also passes over the combining iota (U+0345): no letter
// itself, but not "no letter" either, because its other case is one.
bool IsBetweenWords(char32_t c, const SplitStep& step) {
  return IsWhiteSpace(c) || (step.ignore_case && c == 0x345);
}

// CLIP's words: an English ending after an apostrophe, a run of letters, one digit, or a run of what is
// neither nor space.
size_t ClipWord(std::u32string_view text, size_t at, const SplitStep& step) {
  for (const std::u32string& word : step.whole) {
    if (HasAt(text, at, word, step.ignore_case)) return word.size();
  }
  if (text[at] == U'\'') {
    for (const char32_t* ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
      if (HasAt(text, at, ending, step.ignore_case)) return std::u32string_view(ending).size();
    }
  }
  if (IsNumber(text[at])) return 1;
  const bool letters = IsLetter(text[at]);
  size_t end = at + 1;
  for (; end < text.size(); ++end) {
    const char32_t c = text[end];
    if (letters ? !IsLetter(c) : IsLetter(c) || IsNumber(c) || IsBetweenWords(c, step)) break;
  }
  return end - at;
}

void SplitOne(std::u32string_view text, const SplitStep& step, std::vector<std::u32string>& out) {
  const auto keep = [&](size_t begin, size_t end) {
    if (end > begin) out.emplace_back(text.substr(begin, end - begin));
  };
  switch (step.kind) {
    case SplitStep::Kind::kClipWords:
      for (size_t i = 0; i < text.size();) {
        if (IsBetweenWords(text[i], step)) {
          ++i;
          continue;
        }
        const size_t size = ClipWord(text, i, step);
        keep(i, i + size);
        i += size;
      }
      return;
    case SplitStep::Kind::kSpaceAtEnd:
    case SplitStep::Kind::kWhitespace: {
      const bool with_space = step.kind == SplitStep::Kind::kSpaceAtEnd;
      size_t begin = 0;
      for (size_t i = 0; i < text.size(); ++i) {
        if (with_space ? text[i] != U' ' : !IsWhiteSpace(text[i])) continue;
        keep(begin, with_space ? i + 1 : i);
        begin = i + 1;
      }
      keep(begin, text.size());
      return;
    }
    case SplitStep::Kind::kMetaspace: {
      std::u32string marked(text);
      std::replace(marked.begin(), marked.end(), U' ', step.mark);
      if (step.prepend && (marked.empty() || marked[0] != step.mark))
        marked.insert(marked.begin(), step.mark);
      size_t begin = 0;
      for (size_t i = 1; step.split && i < marked.size(); ++i) {
        if (marked[i] != step.mark) continue;
        out.push_back(marked.substr(begin, i - begin));
        begin = i;
      }
      if (begin < marked.size()) out.push_back(marked.substr(begin));
      return;
    }
    case SplitStep::Kind::kBytes: {
      std::u32string bytes;
      for (const char c : ToUtf8(text)) bytes += ByteSymbol(static_cast<uint8_t>(c));
      out.push_back(std::move(bytes));
      return;
    }
  }
}

}  // namespace

std::u32string Normalize(std::u32string_view text, const std::vector<NormalizeStep>& steps) {
  std::u32string now(text);
  for (const NormalizeStep& step : steps) {
    switch (step.kind) {
      case NormalizeStep::Kind::kNfc:
        now = Nfc(now);
        break;
      case NormalizeStep::Kind::kNfkc:
        now = Nfkc(now);
        break;
      case NormalizeStep::Kind::kLower:
        now = LowerEach(now);
        break;
      case NormalizeStep::Kind::kReplace:
        now = Replace(now, step.from, step.to);
        break;
      case NormalizeStep::Kind::kReplaceSpaces:
        now = ReplaceSpaces(now, step);
        break;
      case NormalizeStep::Kind::kPrepend:
        if (!now.empty()) now.insert(0, step.to);
        break;
      case NormalizeStep::Kind::kStrip: {
        size_t begin = 0, end = now.size();
        while (step.left && begin < end && IsWhiteSpace(now[begin])) ++begin;
        while (step.right && end > begin && IsWhiteSpace(now[end - 1])) --end;
        now = now.substr(begin, end - begin);
        break;
      }
      case NormalizeStep::Kind::kCharsmap:
        now = step.charsmap.ApplyAsTokenizers(now, kLongestNormal);
        break;
    }
    if (now.size() > kLongestNormal) now.resize(kLongestNormal);
  }
  return now;
}

std::vector<std::u32string> Split(std::u32string_view text, const std::vector<SplitStep>& steps) {
  std::vector<std::u32string> words(1, std::u32string(text));
  for (const SplitStep& step : steps) {
    std::vector<std::u32string> next;
    for (const std::u32string& word : words) SplitOne(word, step, next);
    words = std::move(next);
  }
  return words;
}

char32_t ByteSymbol(uint8_t byte) {
  static const std::array<char32_t, 256> symbols = [] {
    std::array<char32_t, 256> made{};
    char32_t next = 256;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= U'!' && b <= U'~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      made[b] = printable ? b : next++;
    }
    return made;
  }();
  return symbols[byte];
}

}  // namespace embedd
