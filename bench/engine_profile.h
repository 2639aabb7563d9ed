// SPDX-License-Identifier: Apache-2.0
//
// Where the time of calls goes on a device, by LibTorch's own profiler, as JSON. Part of bench_engine; the
// header does not see LibTorch.

#pragma once

#include <string>

#include "absl/functional/function_ref.h"

namespace embedd::bench {

// Makes `calls` calls and returns
//   {"calls": [{"wall_ms", "before_ms", "busy_ms", "kernels_ms", "to_device_ms", "to_host_ms", "after_ms",
//               "launched"}, ...],
//    "top": [[name, milliseconds of a call, times in a call], ...]}
// before and after: from the call's begin to the first work of the device, from the last one to its end;
// busy: in which the device did anything. The profiler itself makes launches slower. On cpu there is only the
// wall, and the operators under "top".
std::string ProfileCalls(int calls, bool on_cuda, absl::FunctionRef<void()> call);

}  // namespace embedd::bench
