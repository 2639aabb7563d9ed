// SPDX-License-Identifier: Apache-2.0
//
// FakeCuda: a CUDA device for machines without a card. Its memory is the host's, its kernels are LibTorch's
// of the cpu. It is as unkind as CUDA may be where a program asks for no order: a copy from pinned memory
// that nobody waits for happens as late as streams and events allow, so whoever reads its bytes too early
// sees the wrong ones; whoever overwrites what it copies from before the host has waited is told of. It
// refuses what a card refuses: operands on different devices, the host's memory while a graph is recorded.
// Header without LibTorch's own; the backend registers it with LibTorch.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <vector>

namespace embedd {

class FakeCuda {
 public:
  static FakeCuda& Get();

  // Script: so many allocations from now on succeed, then one fails as on a full card; -1: all succeed.
  int allocations_left = -1;

  // What was seen.
  int64_t live_bytes = 0;  // of the device
  int late_copies = 0;     // that were not done when they were asked for
  int kernels = 0, replays = 0;
  int workspaces_cleared = 0;
  std::vector<std::string> mistakes;  // that a real card would answer with wrong numbers or worse

  // ---- for the backend ----
  void* Allocate(int64_t bytes);
  void Free(void* memory);
  void* Pin(int64_t bytes);
  void Unpin(void* memory);
  bool pinned(const void* memory) const;

  // On the current stream: now, after what is pending there; or, while a graph is recorded, also into it.
  void Work(std::function<void()> work);
  // From pinned memory, without waiting.
  void CopyLater(void* to, const void* from, int64_t bytes);

  int64_t stream = 0, streams = 0;  // current; made so far
  struct Event {
    int64_t stream = 0, position = 0;
  };
  Event Record(int64_t on) const;
  // On another stream: what was recorded happens before what comes there.
  void Wait(const Event& event);
  // On the host, which then knows that it happened.
  void WaitOnHost(const Event& event);
  void WaitForAll();

  struct Graph {
    std::vector<std::function<void()>> work;
  };
  Graph* recording = nullptr;

 private:
  struct Copy {
    void* to;
    const void* from;
    int64_t bytes;
  };
  struct Stream {
    std::deque<Copy> pending;
    int64_t done = 0;
  };
  // What the host does not know to be over.
  struct Reading {
    int64_t stream, position;
    const void* from;
    std::string bytes;
  };
  void Run(const Copy& copy);
  void RunUntil(int64_t on, int64_t position);
  static bool Inside(const std::map<const void*, int64_t>& blocks, const void* memory);

  std::map<int64_t, Stream> streams_;
  std::list<Reading> readings_;
  std::map<const void*, int64_t> live_, pinned_;
};

}  // namespace embedd
