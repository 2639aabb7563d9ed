// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/prepare_cost.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "server/prepare/image/image_header.h"

namespace embedd {
namespace {

// Before anything was measured. A photograph takes about 8 ns a pixel to decode, pixels as they are 1 ns, a
// byte of text 100 ns; of what is not known a byte may be some pixels.
double GuessSeconds(int kind) {
  switch (kind) {
    case PrepareLoad::kRaw:
      return 1e-9;
    case PrepareLoad::kText:
      return 1e-7;
    case PrepareLoad::kUnknown:
      return 2e-8;
    default:
      return 8e-9;
  }
}

// A mean forgets what is older than about this many.
constexpr int kMemory = 16;
constexpr double kLeastSeconds = 1e-6;  // hand it over, at least

int SizeOf(int64_t units) { return std::bit_width(static_cast<uint64_t>(std::max<int64_t>(units, 1))); }

}  // namespace

PrepareLoad PrepareLoad::OfFile(absl::string_view file, const FormatSet& formats) {
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file, formats);
  if (!header.ok()) return {.kind = kUnknown, .units = static_cast<int64_t>(file.size())};
  return {.kind = kFirstFormat + static_cast<int>(header->format), .units = header->pixels()};
}

void PrepareCost::Add(const PrepareLoad& load, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took) / static_cast<double>(std::max<int64_t>(load.units, 1));
  MutexLock lock(&mu_);
  Mean& mean = means_[load.kind][SizeOf(load.units)];
  mean.samples = std::min(mean.samples + 1, kMemory);
  mean.seconds += (seconds - mean.seconds) / mean.samples;
}

absl::Duration PrepareCost::Of(const PrepareLoad& load) const {
  double seconds = GuessSeconds(load.kind);
  {
    MutexLock lock(&mu_);
    if (const auto sizes = means_.find(load.kind); sizes != means_.end()) {
      const int size = SizeOf(load.units);
      const auto nearer = [size](const auto& a, const auto& b) {
        return std::abs(a.first - size) < std::abs(b.first - size);
      };
      seconds = std::min_element(sizes->second.begin(), sizes->second.end(), nearer)->second.seconds;
    }
  }
  return absl::Seconds(std::max(kLeastSeconds, seconds * static_cast<double>(load.units)));
}

bool PrepareCost::measured() const {
  MutexLock lock(&mu_);
  return !means_.empty();
}

}  // namespace embedd
