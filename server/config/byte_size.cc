// SPDX-License-Identifier: Apache-2.0

#include "server/config/byte_size.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace embedd {
namespace {

struct Unit {
  absl::string_view name;
  int64_t factor;
};

// Largest first, for formatting; the bare number comes last.
constexpr Unit kBytes[] = {{"TiB", int64_t{1} << 40},
                           {"TB", 1'000'000'000'000},
                           {"GiB", int64_t{1} << 30},
                           {"GB", 1'000'000'000},
                           {"MiB", int64_t{1} << 20},
                           {"MB", 1'000'000},
                           {"KiB", int64_t{1} << 10},
                           {"kB", 1'000},
                           {"B", 1},
                           {"", 1}};
constexpr Unit kPixels[] = {{"Gpx", 1'000'000'000}, {"Mpx", 1'000'000}, {"kpx", 1'000}, {"px", 1}, {"", 1}};

absl::StatusOr<int64_t> Parse(absl::string_view text, absl::Span<const Unit> units,
                              absl::string_view example) {
  text = absl::StripAsciiWhitespace(text);
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const absl::string_view number = text.substr(0, end);
  const absl::string_view unit_text = absl::StripLeadingAsciiWhitespace(text.substr(end));
  const Unit* found = nullptr;
  for (const Unit& unit : units) {
    if (absl::EqualsIgnoreCase(unit.name, unit_text)) found = &unit;
  }
  double fraction = 0;
  if (found == nullptr || number.empty() || !absl::SimpleAtod(number, &fraction)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a size; write for example ", example));
  }
  int64_t whole = 0;
  if (absl::SimpleAtoi(number, &whole)) {
    int64_t bytes = 0;
    if (!__builtin_mul_overflow(whole, found->factor, &bytes)) return bytes;
  } else if (fraction * static_cast<double>(found->factor) < 9.2e18) {
    return std::llround(fraction * static_cast<double>(found->factor));
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is too large"));
}

std::string Format(int64_t value, absl::Span<const Unit> units) {
  for (const Unit& unit : units) {
    if (unit.factor > 1 && value != 0 && value % unit.factor == 0)
      return absl::StrCat(value / unit.factor, unit.name);
  }
  return absl::StrCat(value);
}

}  // namespace

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  return Parse(text, kBytes, "64MiB or 512MB");
}
std::string FormatByteSize(int64_t bytes) { return Format(bytes, kBytes); }
absl::StatusOr<int64_t> ParsePixels(absl::string_view text) { return Parse(text, kPixels, "64Mpx"); }
std::string FormatPixels(int64_t pixels) { return Format(pixels, kPixels); }

}  // namespace embedd
