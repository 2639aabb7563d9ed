// SPDX-License-Identifier: Apache-2.0
//
// WorkThreads: a few threads that run what a door has to compute (JSON, base64), so that neither its network
// thread nor the stages of the road wait for it. Thread-safe; work may be given after Stop, and is
// dropped then.

#pragma once

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "server/support/mutex.h"

namespace embedd {

class WorkThreads {
 public:
  WorkThreads(int threads, const std::string& name);
  ~WorkThreads() { Stop(); }

  void Run(std::function<void()> work);
  // Waits for what runs; drops what waits. Not from a work thread.
  void Stop();

 private:
  void Loop(const std::string& name);

  Mutex mu_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

}  // namespace embedd
