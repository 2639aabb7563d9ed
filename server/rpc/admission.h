// SPDX-License-Identifier: Apache-2.0
//
// Admission: whether a call gets a place, and what it is told when it does not. Costs no more than a lock.

#pragma once

#include <grpcpp/server_context.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/rpc/call_failure.h"
#include "server/rpc/road.h"

namespace embedd {

// QUEUE_FULL for a failed reservation: with the time after which a retry is worth it, from the actual
// backlog, or "never" when the call is larger than the queue could ever hold.
CallFailure QueueFull(const absl::Status& refused, const Road& road, int images);

// DEADLINE_EXCEEDED when `more` cannot be answered before `deadline`, by the backlog and what preparing and
// batches were measured to take; nothing when it can, or while nothing was measured.
std::optional<CallFailure> CheckDeadline(const Road& road, const Work& more, absl::Time deadline);

// Notes that a call ended: in the metrics, in a line for --log-level debug, and, where its trace is sampled
// and there is a collector, in spans. Of `call` all but `trace` and `end` are set, by the road's clock.
void NoteEnd(const Road& road, const std::optional<TraceContext>& trace, CallSpan call);

// Tells balancers the load, as a call of `inputs` ends: utilization is all inputs on the road, those of the
// call included, over what a second can do.
void AddLoadReport(const Road& road, const PerTower<int>& inputs, grpc::ServerContextBase* context);

// A gRPC deadline (system clock; may be infinite) on the clock of the road.
absl::Time RoadDeadline(const Road& road, std::chrono::system_clock::time_point deadline);

}  // namespace embedd
