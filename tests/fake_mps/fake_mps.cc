// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_mps/fake_mps.h"

#include <c10/util/Exception.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

double RatioFromEnvironment(const char* name, double usual) {
  const char* text = std::getenv(name);
  return text == nullptr ? usual : std::strtod(text, nullptr);
}

}  // namespace

FakeMps& FakeMps::Get() {
  static FakeMps* const instance = new FakeMps;
  return *instance;
}

void FakeMps::Reset(int64_t recommended) {
  TORCH_CHECK(heaps_ == nullptr || heaps_->allocated() == 0, "a tensor of the test before is still there");
  heaps_.reset();
  graphs_.clear();
  contents_.clear();
  ratio_changes.clear();
  recommended_ = recommended;
  other_ = 0;
  cache_releases = graph_drops = 0;
  counters_throw = false;
  high_at_start = low_at_start = 0;
}

void FakeMps::Start() {
  if (heaps_ != nullptr) return;
  const double high = RatioFromEnvironment("PYTORCH_MPS_HIGH_WATERMARK_RATIO", 1.7);
  const double low = RatioFromEnvironment("PYTORCH_MPS_LOW_WATERMARK_RATIO", 1.4);
  heaps_ = std::make_unique<FakeMpsHeaps>(
      FakeMpsHeaps::Options{.recommended = recommended_, .high_ratio = high, .low_ratio = 0});
  SetHigh(high);
  SetLow(low);
  ratio_changes.clear();
  high_at_start = high;
  low_at_start = low;
  UpdateOther();
}

FakeMpsHeaps& FakeMps::heaps() {
  Start();
  return *heaps_;
}

void FakeMps::SetHigh(double ratio) {
  TORCH_CHECK(ratio >= 0.0 && ratio <= 2.0, "invalid high watermark ratio ", ratio);
  heaps().SetRatios(ratio, heaps().options().low_ratio);
  ratio_changes.push_back(absl::StrCat("high ", ratio));
}

void FakeMps::SetLow(double ratio) {
  const double high = heaps().options().high_ratio;
  TORCH_CHECK(ratio >= 0.0 && ratio <= (high == 0.0 ? 2.0 : high), "invalid low watermark ratio ", ratio);
  heaps().SetRatios(high, ratio);
  ratio_changes.push_back(absl::StrCat("low ", ratio));
}

void FakeMps::UpdateOther() {
  int64_t total = other_;
  for (const auto& [shape, bytes] : graphs_) total += bytes;
  heaps().SetOther(total);
}

void FakeMps::CompileGraph(const std::string& shape, int64_t bytes) {
  graphs_[shape] = bytes;
  UpdateOther();
}

void FakeMps::SetOther(int64_t bytes) {
  other_ = bytes;
  UpdateOther();
}

void FakeMps::DropGraphs() {
  ++graph_drops;
  graphs_.clear();
  UpdateOther();
}

void* FakeMps::HostContents(int64_t id) {
  auto& bytes = contents_[id];
  if (bytes == nullptr) bytes = std::make_unique<char[]>(static_cast<size_t>(heaps().SizeOf(id)));
  return bytes.get();
}

}  // namespace embedd
