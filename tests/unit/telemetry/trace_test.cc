// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/trace.h"

#include <string>

#include "server/telemetry/span_buffer.h"
#include "tests/support/catch.h"
#include "tests/support/metric_value.h"

namespace embedd {
namespace {

constexpr char kRight[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST_CASE("A traceparent gives trace, parent and whether it is sampled") {
  const std::optional<TraceContext> trace = ParseTraceParent(kRight);
  REQUIRE(trace.has_value());
  CHECK(HexOf(trace->trace_id) == "0af7651916cd43dd8448eb211c80319c");
  CHECK(HexOf(trace->parent_id) == "b7ad6b7169203331");
  CHECK(trace->sampled);
  CHECK_FALSE(ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")->sampled);
  CHECK(ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03")->sampled);
}

TEST_CASE("A later version may say more; it is read as far as it is known") {
  const std::string later = "cc" + std::string(kRight).substr(2);
  CHECK(ParseTraceParent(later) == ParseTraceParent(kRight));
  CHECK(ParseTraceParent(later + "-what-comes") == ParseTraceParent(kRight));
  CHECK_FALSE(ParseTraceParent(later + "x").has_value());
}

TEST_CASE("A traceparent that is wrong is as good as none") {
  const std::string right = kRight;
  std::vector<std::string> wrong = {"",
                                    "00",
                                    right + "-more",
                                    right + "x",
                                    "ff" + right.substr(2),
                                    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"};
  for (size_t cut = 1; cut < right.size(); ++cut) wrong.push_back(right.substr(0, cut));
  for (size_t i = 0; i < right.size(); ++i) {
    for (const char c : {'A', 'g', ' ', '\0', '\xff'}) {
      wrong.push_back(right);
      wrong.back()[i] = c;
    }
  }
  for (const std::string& header : wrong) {
    INFO(header);
    CHECK_FALSE(ParseTraceParent(header).has_value());
  }
}

TEST_CASE("Spans wait for their collector, as many as there is room for; the rest is dropped and counted") {
  Metrics metrics;
  SpanBuffer buffer({.capacity = 5, .batch = 3}, &metrics);
  for (int i = 0; i < 7; ++i) buffer.Add({.inputs = i});
  CHECK(MetricValue(metrics, "embedd_spans_total{outcome=\"dropped\"}") == 2);
  const std::vector<CallSpan> first = buffer.Take(absl::ZeroDuration());
  REQUIRE(first.size() == 3);
  CHECK(first[0].inputs == 0);
  buffer.Stop();
  CHECK(buffer.Take(absl::Hours(1)).size() == 2);
  CHECK(buffer.Take(absl::Hours(1)).empty());
  buffer.Add({});
  CHECK(MetricValue(metrics, "embedd_spans_total{outcome=\"dropped\"}") == 3);
}

}  // namespace
}  // namespace embedd
