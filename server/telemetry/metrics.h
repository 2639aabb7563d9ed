// SPDX-License-Identifier: Apache-2.0
//
// Metrics: every metric of the server, under the names of the contract. Names and labels are written in
// metrics.cc and nowhere else. Base units: seconds and bytes. Thread-safe; every method is cheap enough for
// the road.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/telemetry/outcome.h"
#include "server/telemetry/reason.h"
#include "server/telemetry/server_facts.h"
#include "server/telemetry/server_state.h"
#include "server/telemetry/tower.h"

namespace embedd {

enum class Stage { kDecode, kQueue, kExecute, kReply };

// The series that carry the label `device`, of one device. Thread-safe.
class DeviceMetrics {
 public:
  ~DeviceMetrics();
  const std::string& device() const { return device_; }

  // The cap of its batches of a tower and what set it: "max_batch", "memory", "latency" or "oom".
  void SetBatchCap(Tower tower, int64_t cap, std::string_view set_by);
  // Bytes that a batch took and gave back.
  void CountReleased(int64_t bytes);
  // Bytes that its last batch did not give back. Must be 0. The series is the sum over all devices.
  void SetUnreleased(int64_t bytes);
  // Out of memory: "split" or "failed".
  void CountOom(std::string_view outcome);
  // Time that it spent on a piece of work.
  void AddBusy(absl::Duration took);

 private:
  friend class Metrics;
  struct Impl;
  DeviceMetrics(std::string device, std::unique_ptr<Impl> impl);
  const std::string device_;
  const std::unique_ptr<Impl> impl_;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();

  // One input ended.
  void CountImages(Outcome outcome, int64_t n = 1);
  // A call ended. `method` is the bare name, `code` the gRPC name, e.g. "EmbedBatch", "RESOURCE_EXHAUSTED".
  void CountRequest(std::string_view method, std::string_view code, absl::Duration took);
  // A call or an input was refused; `reason` as the caller got it, e.g. QUEUE_FULL or CORRUPT_IMAGE.
  void CountRejected(Reason reason);
  void ObserveStage(Stage stage, absl::Duration took);
  // A device batch of a tower ended well: `ok` inputs that got a row, `padding` rows that were filler. A
  // tower has series from its first batch on, that of images from the start.
  void ObserveBatch(Tower tower, int64_t ok, int64_t padding);
  // The series of one device, made at the first call with its name. They live as long as this.
  DeviceMetrics* AddDevice(const std::string& device);
  void SetState(ServerState state);
  // Spans of sampled calls: "sent" to the collector, or "dropped".
  void CountSpans(std::string_view outcome, int64_t n);
  // How near int8 comes to f32. There is no such series for other number formats.
  void SetInt8Cosine(double least, double mean);

  // Where the gauges come from that are read when somebody scrapes: queues, memory of the devices, footprint.
  void SetFactsSource(std::function<ServerFacts()> source);
  // Sets the labels of embedd_build_info. `fingerprint` is that of the model; empty until it is read.
  void SetBuildInfo(const Versions& versions, std::string_view fingerprint);

  // Everything in the Prometheus text format.
  std::string Scrape();

 private:
  friend class DeviceMetrics;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace embedd
