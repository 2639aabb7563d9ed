// SPDX-License-Identifier: Apache-2.0
//
// What the benchmark programs share: ending on an error, clocks, a model that costs nothing.

#pragma once

#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/device/executor.h"
#include "tests/support/no_device_memory.h"

namespace embedd::bench {

inline void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

inline double Seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
inline double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }
// Of all threads of this process.
inline double CpuSeconds() { return Seconds(CLOCK_PROCESS_CPUTIME_ID); }

// "[1.5, 2]"
inline std::string JsonList(const std::vector<double>& values) {
  std::string text = "[";
  for (const double value : values) {
    char number[32];
    std::snprintf(number, sizeof(number), "%s%.6g", text.size() > 1 ? ", " : "", value);
    text += number;
  }
  return text + "]";
}

// An Executor whose forward pass costs nothing: what is left is the server. `on_run` gets the bucket of each
// batch and may wait, as a device does.
class NullExecutor final : public Executor {
 public:
  // `memory_limit` 0: none.
  explicit NullExecutor(int dimension, std::function<void(int)> on_run = nullptr, int64_t memory_limit = 0)
      : dimension_(dimension), on_run_(std::move(on_run)) {
    memory_.limit = memory_limit;
  }
  absl::Status Load(Tower) override { return absl::OkStatus(); }
  absl::Status Offload() override { return absl::OkStatus(); }
  bool loaded(Tower) const override { return true; }
  absl::Status Run(Tower, absl::Span<const uint8_t* const>, int bucket, absl::Span<float> rows) override {
    if (on_run_ != nullptr) on_run_(bucket);
    for (float& value : rows) value = 1.0f;
    return absl::OkStatus();
  }
  void Synchronize() override {}
  DeviceMemory& memory() override { return memory_; }
  int dimension() const override { return dimension_; }

 private:
  const int dimension_;
  const std::function<void(int)> on_run_;
  NoDeviceMemory memory_;
};

}  // namespace embedd::bench
