// SPDX-License-Identifier: Apache-2.0

#include "server/http/work_threads.h"

#include <utility>

#include "server/support/process.h"

namespace embedd {

WorkThreads::WorkThreads(int threads, const std::string& name) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this, name] { Loop(name); });
}

void WorkThreads::Run(std::function<void()> work) {
  MutexLock lock(&mu_);
  if (stop_) return;
  waiting_.push_back(std::move(work));
  changed_.Signal();
}

void WorkThreads::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    MutexLock lock(&mu_);
    stop_ = true;
    dropped.swap(waiting_);
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void WorkThreads::Loop(const std::string& name) {
  SetThreadName(name.c_str());
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(&mu_);
      while (waiting_.empty() && !stop_) changed_.Wait(&mu_);
      if (stop_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

}  // namespace embedd
