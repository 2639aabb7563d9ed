// SPDX-License-Identifier: Apache-2.0

#include "bench/engine_profile.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace embedd::bench {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

constexpr char kCall[] = "embedd call";
constexpr size_t kTop = 12;

struct Span {
  uint64_t begin = 0, end = 0;  // ns
};

struct Call {
  Span wall;
  uint64_t kernels = 0, to_device = 0, to_host = 0;
  int launched = 0;
  std::vector<Span> busy;
};

double Ms(uint64_t ns) { return 1e-6 * static_cast<double>(ns); }

// Of spans that may lie over each other.
uint64_t Union(std::vector<Span> spans) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  uint64_t sum = 0, end = 0;
  for (const Span& span : spans) {
    if (span.end > end) sum += span.end - std::max(span.begin, end);
    end = std::max(end, span.end);
  }
  return sum;
}

std::string Json(const Call& call) {
  uint64_t first = call.wall.end, last = call.wall.begin;
  for (const Span& span : call.busy) {
    first = std::min(first, span.begin);
    last = std::max(last, span.end);
  }
  const auto since = [](uint64_t from, uint64_t to) { return to > from ? Ms(to - from) : 0.0; };
  return absl::StrFormat(
      R"({"wall_ms": %.3f, "before_ms": %.3f, "busy_ms": %.3f, "kernels_ms": %.3f, "to_device_ms": %.3f, )"
      R"("to_host_ms": %.3f, "after_ms": %.3f, "launched": %d})",
      Ms(call.wall.end - call.wall.begin), since(call.wall.begin, first), Ms(Union(call.busy)),
      Ms(call.kernels), Ms(call.to_device), Ms(call.to_host), since(last, call.wall.end), call.launched);
}

// Total time and times of what has a name.
using Totals = std::map<std::string, std::pair<uint64_t, int>>;

std::string Json(const Totals& totals, int calls) {
  std::vector<std::pair<std::string, std::pair<uint64_t, int>>> rows(totals.begin(), totals.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.first > b.second.first; });
  rows.resize(std::min(rows.size(), kTop));
  return absl::StrJoin(rows, ", ", [&](std::string* out, const auto& row) {
    absl::StrAppendFormat(out, R"(["%s", %.4f, %.1f])",
                          absl::StrReplaceAll(row.first, {{"\\", "/"}, {"\"", "'"}}),
                          Ms(row.second.first) / calls, static_cast<double>(row.second.second) / calls);
  });
}

}  // namespace

std::string ProfileCalls(int calls, bool on_cuda, absl::FunctionRef<void()> call) {
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  std::set<ActivityType> activities = {ActivityType::CPU};
  if (on_cuda) activities.insert(ActivityType::CUDA);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  for (int i = 0; i < calls; ++i) {
    at::RecordFunction mark(at::RecordScope::USER_SCOPE);
    if (mark.isActive()) mark.before(kCall);
    call();
  }
  const std::unique_ptr<profiler::ProfilerResult> result = profiler::disableProfiler();

  std::vector<Call> found;
  for (const profiler::KinetoEvent& event : result->events()) {
    if (event.name() != kCall || event.deviceType() != c10::DeviceType::CPU) continue;
    found.push_back({.wall = {event.startNs(), event.startNs() + event.durationNs()}});
  }
  std::sort(found.begin(), found.end(),
            [](const Call& a, const Call& b) { return a.wall.begin < b.wall.begin; });
  Totals totals;
  for (const profiler::KinetoEvent& event : result->events()) {
    const std::string name = event.name();
    const bool device = event.deviceType() == c10::DeviceType::CUDA;
    if (name == kCall || device != on_cuda) continue;  // such marks are there for the device, too
    const Span span = {event.startNs(), event.startNs() + event.durationNs()};
    auto& [ns, times] = totals[name];
    ns += event.durationNs();
    ++times;
    if (!device) continue;
    for (Call& one : found) {
      if (span.begin < one.wall.begin || span.begin >= one.wall.end) continue;
      one.busy.push_back(span);
      const bool copy = absl::StartsWith(name, "Memcpy HtoD"), back = absl::StartsWith(name, "Memcpy DtoH");
      (copy ? one.to_device : back ? one.to_host : one.kernels) += event.durationNs();
      one.launched += !copy && !back;
    }
  }
  return absl::StrFormat(R"({"calls": [%s], "top": [%s]})",
                         absl::StrJoin(found, ", ", [](std::string* out, const Call& c) { *out += Json(c); }),
                         Json(totals, calls));
}

}  // namespace embedd::bench
