// SPDX-License-Identifier: Apache-2.0
//
// The load of this server as balancers want it: an ORCA report (xds.data.orca.v3.OrcaLoadReport) in a trailer
// of each call, by which gRPC's weighted_round_robin and Envoy give a slow or busy replica less.

#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

inline constexpr char kLoadReportTrailer[] = "endpoint-load-metrics-bin";

// The message in bytes: rps_fractional (field 6) and application_utilization (field 9). By hand, because the
// gRPC that Linux distributions carry knows no application_utilization.
std::string OrcaLoadReport(double per_second, double utilization);

// Inputs a second over the last whole window or two. Thread-safe.
class RateMeter {
 public:
  explicit RateMeter(const Clock* clock, absl::Duration window = absl::Seconds(5))
      : clock_(clock), window_(window), began_(clock->TimeNow()) {}

  void Count(int64_t inputs);
  double PerSecond() const;

 private:
  const Clock* const clock_;
  const absl::Duration window_;
  mutable Mutex mu_;
  absl::Time began_ ABSL_GUARDED_BY(mu_);  // of the window that runs
  int64_t now_ ABSL_GUARDED_BY(mu_) = 0, before_ ABSL_GUARDED_BY(mu_) = 0;
  bool has_before_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace embedd
