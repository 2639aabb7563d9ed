// SPDX-License-Identifier: Apache-2.0
//
// FakeExecutor: an Executor whose behaviour a test writes down. Its row of an image is a known function of
// the pixels (FakeRow), so a test can tell which image a vector came from. Takes memory from a
// FakeDeviceMemory-like ledger of its own: out of memory, leaks and a lost device are real events to the rest
// of the road. Script is read at each Run under a lock, so a test may change it while the road runs.

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/device/executor.h"
#include "server/support/mutex.h"

namespace embedd {

// DeviceMemory that only adds and subtracts.
class CountingMemory final : public DeviceMemory {
 public:
  MemoryReading Read() override;
  void ResetPeak() override;
  void Trim() override;
  absl::Status CheckSane() override;

  // kResourceExhausted when it would pass the limit.
  absl::Status Allocate(int64_t bytes);
  void Free(int64_t bytes);
  void SetLimit(int64_t bytes);
  void SetGarbage(bool garbage);
  int trims() const;
  void SetOnTrim(std::function<void()> on_trim);

 private:
  mutable Mutex mu_;
  MemoryReading reading_ ABSL_GUARDED_BY(mu_);
  std::function<void()> on_trim_ ABSL_GUARDED_BY(mu_);
  bool garbage_ ABSL_GUARDED_BY(mu_) = false;
  int trims_ ABSL_GUARDED_BY(mu_) = 0;
};

class FakeExecutor final : public Executor {
 public:
  struct Options {
    int dimension = 4;
    int64_t pixel_bytes = 3;        // of one image; FakeRow reads the first byte of each input
    int64_t weight_bytes = 1000;    // of the image tower
    int64_t text_weight_bytes = 0;  // of the text tower; 0: the model has none
    int64_t fixed_bytes = 100;      // β: what any batch takes
    int64_t bytes_per_image = 100;  // α: what each image of a batch takes
  };
  struct Script {
    // Called at the start of each Run with (inputs, bucket), no lock held: may wait, throw, or fail the
    // batch.
    std::function<absl::Status(int inputs, int bucket)> on_run;
    // Called after on_run with what is in the batch: may fail it for that.
    std::function<absl::Status(absl::Span<const uint8_t* const> inputs)> on_inputs;
    // Called at the start of each Load and Offload, no lock held: may wait, or fail it.
    std::function<absl::Status()> on_load, on_offload;
    // Called on the rows before they are returned: may spoil them.
    std::function<void(absl::Span<float> rows)> on_rows;
    int64_t leak_bytes = 0;  // kept by every batch
  };

  FakeExecutor() : FakeExecutor(Options{}) {}
  explicit FakeExecutor(Options options) : options_(options) {}

  absl::Status Load(Tower tower) override;
  absl::Status Offload() override;
  bool loaded(Tower tower) const override;
  absl::Status Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                   absl::Span<float> rows) override;
  void Synchronize() override {}
  DeviceMemory& memory() override { return memory_; }
  int dimension() const override { return options_.dimension; }

  void SetScript(Script script);
  // Called at the start of each Trim: may wait.
  void SetOnTrim(std::function<void()> on_trim) { memory_.SetOnTrim(std::move(on_trim)); }
  CountingMemory& counting_memory() { return memory_; }
  std::vector<int> batch_sizes() const;     // of the batches that ran to their end, in order
  std::vector<Tower> batch_towers() const;  // and the tower of each
  int loads() const;

  // The row of an input whose first byte is `b`: (b + 1, b + 2, …), never zero.
  static std::vector<float> FakeRow(uint8_t b, int dimension);

 private:
  int64_t WeightBytes(Tower tower) const;

  const Options options_;
  CountingMemory memory_;
  mutable Mutex mu_;
  Script script_ ABSL_GUARDED_BY(mu_);
  std::vector<int> batch_sizes_ ABSL_GUARDED_BY(mu_);
  std::vector<Tower> batch_towers_ ABSL_GUARDED_BY(mu_);
  std::array<bool, kTowers> loaded_ ABSL_GUARDED_BY(mu_) = {};
  int loads_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace embedd
