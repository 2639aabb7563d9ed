// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/admission.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/rpc/status_mapping.h"
#include "server/support/log.h"
#include "server/support/wall_time.h"

namespace embedd {
namespace {

// A retry is worth it when about half the backlog is gone; never at once, and not so late that the device
// idles.
constexpr absl::Duration kSoonestRetry = absl::Milliseconds(20);
constexpr absl::Duration kLatestRetry = absl::Seconds(30);

}  // namespace

CallFailure QueueFull(const absl::Status& refused, const Road& road, int images) {
  const PlaceBudget::Usage used = road.budget->usage();
  CallFailure failure{.status = absl::ResourceExhaustedError(refused.message()),
                      .reason = Reason::kQueueFull,
                      .metadata = {{"images", absl::StrCat(images)},
                                   {"queue_images", absl::StrCat(road.budget->options().images)},
                                   {"queue_bytes", absl::StrCat(road.budget->options().bytes)},
                                   {"queued_images", absl::StrCat(used.images)},
                                   {"queued_bytes", absl::StrCat(used.bytes)}}};
  if (absl::IsOutOfRange(refused)) {
    failure.retry_after = -absl::Seconds(1);
  } else {
    // Places come free as all that waits is done, whatever its lane.
    failure.retry_after =
        std::clamp(road.expected_time({.lane = Lane::kBulk}) / 2, kSoonestRetry, kLatestRetry);
  }
  return failure;
}

std::optional<CallFailure> CheckDeadline(const Road& road, const Work& more, absl::Time deadline) {
  if (deadline == absl::InfiniteFuture()) return std::nullopt;
  const absl::Duration left = deadline - road.clock->TimeNow();
  // What waits already is counted a quarter longer than expected: the queue of an overloaded server is as
  // long as its callers' deadlines allow, and one that is exactly as long answers every call a moment too
  // late.
  const absl::Duration needed = road.expected_time(more) + road.expected_time({.lane = more.lane}) / 4;
  if (left > absl::ZeroDuration() && needed <= left) return std::nullopt;
  return CallFailure{
      .status = absl::DeadlineExceededError(absl::StrCat(
          "the deadline cannot be met: ", absl::ToInt64Milliseconds(left), " ms are left, ", more.all(),
          " inputs would take ", absl::ToInt64Milliseconds(needed), " ms behind what waits already")),
      .reason = Reason::kDeadline,
      .metadata = {{"left_ms", absl::StrCat(absl::ToInt64Milliseconds(left))},
                   {"needed_ms", absl::StrCat(absl::ToInt64Milliseconds(needed))}}};
}

void NoteEnd(const Road& road, const std::optional<TraceContext>& trace, CallSpan call) {
  const absl::Duration took = road.clock->TimeNow() - call.start;
  const std::string name = CodeName(call.code);
  road.metrics->CountRequest(call.method, name, took);
  if (LogsDebug()) {
    LogDebug("a call ended", {{"method", std::string(call.method)},
                              {"code", name},
                              {"inputs", absl::StrCat(call.inputs)},
                              {"seconds", absl::StrFormat("%.6f", absl::ToDoubleSeconds(took))},
                              {"trace_id", trace.has_value() ? HexOf(trace->trace_id) : ""}});
  }
  if (road.spans == nullptr || !trace.has_value() || !trace->sampled) return;
  call.trace = *trace;
  call.end = WallTime();  // as everybody else who takes part in the trace
  call.start = call.end - took;
  road.spans->Add(call);
}

void AddLoadReport(const Road& road, const PerTower<int>& inputs, grpc::ServerContextBase* context) {
  if (road.answered == nullptr) return;
  Work work{.inputs = inputs, .lane = Lane::kBulk};
  road.answered->Count(work.all());
  if (work.all() == 0) {  // a balancer takes a utilization of 0 for none told: what one more input would find
    const ModelSpec* model = road.model.load();
    const bool texts_only = model != nullptr && !model->Serves(Tower::kImage);
    work.inputs[texts_only ? Tower::kText : Tower::kImage] = 1;
  }
  context->AddTrailingMetadata(
      kLoadReportTrailer,
      OrcaLoadReport(road.answered->PerSecond(), absl::ToDoubleSeconds(road.expected_time(work))));
}

absl::Time RoadDeadline(const Road& road, std::chrono::system_clock::time_point deadline) {
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  const auto left = deadline - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24 * 365)) return absl::InfiniteFuture();
  return road.clock->TimeNow() + absl::FromChrono(left);
}

}  // namespace embedd
