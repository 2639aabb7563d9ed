// SPDX-License-Identifier: Apache-2.0
//
// OTLP/HTTP JSON out of calls that have ended: an ExportTraceServiceRequest (opentelemetry-proto, trace/v1)
// in which each call is a span of kind SERVER, with its stages as children.

#pragma once

#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/types/span.h"
#include "server/telemetry/span_buffer.h"

namespace embedd {

// `version` of this server; `random` for the ids of the spans.
std::string ToOtlpJson(absl::Span<const CallSpan> calls, const std::string& version, absl::BitGen& random);

}  // namespace embedd
