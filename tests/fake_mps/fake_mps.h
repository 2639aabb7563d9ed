// SPDX-License-Identifier: Apache-2.0
//
// FakeMps: an MPS backend for machines without Metal, in a test binary of its own: once its hooks are
// registered, LibTorch believes in a device called "mps". It registers at::MPSHooksInterface and an allocator
// for at::kMPS that derives at::mps::IMPSAllocator, counts by the rules of FakeMpsHeaps, reads the same
// environment variables at its first use, and throws with the same text. There are no kernels: tensors can be
// made and dropped, not computed with.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/fake_mps_heaps.h"

namespace embedd {

class FakeMps {
 public:
  static FakeMps& Get();

  // A new device that nobody used yet. Every tensor must be gone.
  void Reset(int64_t recommended);

  // What LibTorch's allocator does at its first use: reads both watermark variables. Throws c10::Error for
  // values that the real one refuses.
  void Start();
  bool started() const { return heaps_ != nullptr; }
  // The ratios found in the environment at the first use.
  double high_at_start = 0, low_at_start = 0;

  FakeMpsHeaps& heaps();

  // Scripts.
  // A graph for one shape; counted by the driver until the hooks' emptyCache.
  void CompileGraph(const std::string& shape, int64_t bytes);
  void SetOther(int64_t bytes);
  bool counters_throw = false;

  // What was called.
  int cache_releases = 0;
  int graph_drops = 0;
  int graphs() const { return static_cast<int>(graphs_.size()); }
  std::vector<std::string> ratio_changes;  // "high 0.5", "low 0.45", in order

  // Used by the hooks and the allocator.
  void DropGraphs();
  void SetHigh(double ratio);
  void SetLow(double ratio);
  int64_t recommended() const { return recommended_; }
  // Host bytes behind a buffer, made when first asked for.
  void* HostContents(int64_t id);
  void ForgetContents(int64_t id) { contents_.erase(id); }

 private:
  void UpdateOther();

  int64_t recommended_ = int64_t{18186} << 20;
  int64_t other_ = 0;
  std::map<std::string, int64_t> graphs_;
  std::map<int64_t, std::unique_ptr<char[]>> contents_;
  std::unique_ptr<FakeMpsHeaps> heaps_;
};

}  // namespace embedd
