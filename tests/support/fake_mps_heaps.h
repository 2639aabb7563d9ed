// SPDX-License-Identifier: Apache-2.0
//
// FakeMpsHeaps: the arithmetic of LibTorch's MPS allocator without Metal and without LibTorch: which heaps it
// opens, what it caches, when it refuses, and what it then says. FakeDeviceMemory and the fake MPS backend of
// tests/fake_mps stand on it. It owns numbers only; memory is the business of whoever calls.
//
// Rules, as LibTorch 2.13 has them: a buffer of up to 1 MiB lies in an 8 MiB heap, below 10 MiB in a 32 MiB
// heap, below 512 MiB in a 1 GiB heap (its own heap under memory pressure), else in a heap of its own. A
// freed buffer stays cached. A heap goes back to the system when its last buffer is released. Left out: holes
// inside a heap (free bytes are taken as one piece) and the age of cached buffers (the collector takes the
// longest unused first). Not thread-safe.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace embedd {

class FakeMpsHeaps {
 public:
  struct Options {
    // What Metal calls recommendedMaxWorkingSetSize. The default is a 24 GB Mac.
    int64_t recommended = int64_t{18186} << 20;
    // Fractions of `recommended`: refuse above high, collect above low. 0 = never. LibTorch's own defaults.
    double high_ratio = 1.7;
    double low_ratio = 1.4;
  };

  explicit FakeMpsHeaps(Options options) : options_(options) {}

  // Opens or reuses a buffer of `bytes` >= 1. Returns its id, or 0 when it does not fit after everything
  // cached was given back; FailureMessage then has the text that LibTorch throws. Constants of kernels
  // (`scalar`) have 8 MiB heaps of their own.
  int64_t Allocate(int64_t bytes, bool scalar = false);
  // The buffer goes to the cache, not to the system. False for an id that is not in use.
  bool Free(int64_t id);
  // Gives every cached buffer back, and with it every heap that is then empty.
  void ReleaseCached();

  // "MPS backend out of memory (...)" for the buffer size that failed last.
  std::string FailureMessage() const;

  int64_t allocated() const { return allocated_; }  // buffers in use
  int64_t heap_bytes() const { return heap_bytes_; }
  int64_t peak() const { return peak_; }
  void ResetPeak() { peak_ = allocated_; }
  // What Metal says the process holds: heaps and everything else, or the injected garbage.
  uint64_t driver() const;
  int64_t high_limit() const { return Limit(options_.high_ratio); }
  const Options& options() const { return options_; }
  // Size of a live or cached buffer; 0 for an unknown id.
  int64_t SizeOf(int64_t id) const;

  void SetRatios(double high, double low);
  // Bytes that Metal counts for the process beside the heaps: compiled graphs, other frameworks.
  void SetOther(int64_t bytes) { other_ = bytes; }
  int64_t other() const { return other_; }
  // From now on the driver says `value`, whatever is allocated. 0 ends it.
  void SetGarbage(uint64_t value) { garbage_ = value; }

 private:
  struct Heap {
    int64_t total = 0;
    int64_t free = 0;
    int buffers = 0;
    int pool = 0;
  };
  struct Buffer {
    int64_t size = 0;
    int64_t heap = 0;
    bool in_use = false;
    uint64_t freed_at = 0;
  };

  int64_t Limit(double ratio) const;
  bool FitsLimit(int64_t size) const;
  bool UnderPressure() const;
  int64_t ReuseCached(int64_t size, int pool);
  int64_t OpenBuffer(int64_t size, int pool, bool pressure);
  int64_t RoomiestFit(int64_t size, int pool) const;
  bool ReleaseOneBigEnough(int64_t size, int pool);
  void CollectGarbage(int pool);
  void Release(int64_t id, bool keep_heap);

  Options options_;
  std::map<int64_t, Heap> heaps_;
  std::map<int64_t, Buffer> buffers_;
  std::set<std::pair<int64_t, int64_t>> cached_[3];  // by pool: (size, id)
  int64_t next_id_ = 1;
  uint64_t clock_ = 0;
  int64_t allocated_ = 0;
  int64_t heap_bytes_ = 0;
  int64_t peak_ = 0;
  int64_t other_ = 0;
  int64_t failed_size_ = 0;
  uint64_t garbage_ = 0;
};

// "9.19 MiB", as LibTorch writes sizes.
std::string FormatMemorySize(uint64_t bytes);

}  // namespace embedd
