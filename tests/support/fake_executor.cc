// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_executor.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace embedd {

MemoryReading CountingMemory::Read() {
  MutexLock lock(&mu_);
  return reading_;
}

void CountingMemory::ResetPeak() {
  MutexLock lock(&mu_);
  reading_.peak = reading_.allocated;
}

void CountingMemory::Trim() {
  std::function<void()> on_trim;
  {
    MutexLock lock(&mu_);
    on_trim = on_trim_;
  }
  if (on_trim) on_trim();
  MutexLock lock(&mu_);
  reading_.reserved = reading_.driver = reading_.allocated;
  ++trims_;
}

absl::Status CountingMemory::CheckSane() {
  MutexLock lock(&mu_);
  return garbage_ ? absl::DataLossError("the driver's counters are garbage") : absl::OkStatus();
}

absl::Status CountingMemory::Allocate(int64_t bytes) {
  MutexLock lock(&mu_);
  if (reading_.limit > 0 && reading_.allocated + bytes > reading_.limit) {
    return absl::ResourceExhaustedError(absl::StrCat("out of memory: tried ", bytes, " bytes, ",
                                                     reading_.allocated, " of ", reading_.limit,
                                                     " are allocated"));
  }
  reading_.allocated += bytes;
  reading_.peak = std::max(reading_.peak, reading_.allocated);
  reading_.reserved = std::max(reading_.reserved, reading_.allocated);
  reading_.driver = reading_.reserved;
  return absl::OkStatus();
}

void CountingMemory::Free(int64_t bytes) {
  MutexLock lock(&mu_);
  reading_.allocated -= bytes;
}

void CountingMemory::SetLimit(int64_t bytes) {
  MutexLock lock(&mu_);
  reading_.limit = bytes;
}

void CountingMemory::SetGarbage(bool garbage) {
  MutexLock lock(&mu_);
  garbage_ = garbage;
}

void CountingMemory::SetOnTrim(std::function<void()> on_trim) {
  MutexLock lock(&mu_);
  on_trim_ = std::move(on_trim);
}

int CountingMemory::trims() const {
  MutexLock lock(&mu_);
  return trims_;
}

int64_t FakeExecutor::WeightBytes(Tower tower) const {
  return tower == Tower::kImage ? options_.weight_bytes : options_.text_weight_bytes;
}

absl::Status FakeExecutor::Load(Tower tower) {
  std::function<absl::Status()> on_load;
  {
    MutexLock lock(&mu_);
    on_load = script_.on_load;
  }
  if (on_load) {
    if (absl::Status status = on_load(); !status.ok()) return status;
  }
  MutexLock lock(&mu_);
  bool& loaded = loaded_[static_cast<size_t>(tower)];
  if (loaded) return absl::OkStatus();
  if (tower == Tower::kText && options_.text_weight_bytes == 0)
    return absl::UnimplementedError("the model has no text tower");
  if (absl::Status taken = memory_.Allocate(WeightBytes(tower)); !taken.ok()) return taken;
  loaded = true;
  ++loads_;
  return absl::OkStatus();
}

absl::Status FakeExecutor::Offload() {
  std::function<absl::Status()> on_offload;
  {
    MutexLock lock(&mu_);
    on_offload = script_.on_offload;
  }
  if (on_offload) {
    if (absl::Status status = on_offload(); !status.ok()) return status;
  }
  MutexLock lock(&mu_);
  for (const Tower tower : kAllTowers) {
    bool& loaded = loaded_[static_cast<size_t>(tower)];
    if (loaded) memory_.Free(WeightBytes(tower));
    loaded = false;
  }
  return absl::OkStatus();
}

bool FakeExecutor::loaded(Tower tower) const {
  MutexLock lock(&mu_);
  return loaded_[static_cast<size_t>(tower)];
}

absl::Status FakeExecutor::Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                               absl::Span<float> rows) {
  Script script;
  {
    MutexLock lock(&mu_);
    script = script_;
    if (!loaded_[static_cast<size_t>(tower)])
      return absl::FailedPreconditionError("the weights are not on the device");
  }
  const int n = static_cast<int>(inputs.size());
  const int64_t bytes = options_.fixed_bytes + options_.bytes_per_image * bucket;
  if (absl::Status taken = memory_.Allocate(bytes); !taken.ok()) return taken;
  absl::Cleanup give_back = [&] { memory_.Free(bytes - script.leak_bytes); };
  if (script.on_run) {
    if (absl::Status status = script.on_run(n, bucket); !status.ok()) return status;
  }
  if (script.on_inputs) {
    if (absl::Status status = script.on_inputs(inputs); !status.ok()) return status;
  }
  for (int i = 0; i < n; ++i) {
    const std::vector<float> row = FakeRow(inputs[i][0], options_.dimension);
    std::copy(row.begin(), row.end(), rows.begin() + i * options_.dimension);
  }
  if (script.on_rows) script.on_rows(rows);
  MutexLock lock(&mu_);
  batch_sizes_.push_back(n);
  batch_towers_.push_back(tower);
  return absl::OkStatus();
}

void FakeExecutor::SetScript(Script script) {
  MutexLock lock(&mu_);
  script_ = std::move(script);
}

std::vector<int> FakeExecutor::batch_sizes() const {
  MutexLock lock(&mu_);
  return batch_sizes_;
}

std::vector<Tower> FakeExecutor::batch_towers() const {
  MutexLock lock(&mu_);
  return batch_towers_;
}

int FakeExecutor::loads() const {
  MutexLock lock(&mu_);
  return loads_;
}

std::vector<float> FakeExecutor::FakeRow(uint8_t b, int dimension) {
  std::vector<float> row(dimension);
  for (int i = 0; i < dimension; ++i) row[i] = static_cast<float>(b + 1 + i);
  return row;
}

}  // namespace embedd
