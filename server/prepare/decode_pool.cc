// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/decode_pool.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/support/process.h"

namespace embedd {

DecodePool::DecodePool(const Options& options) {
  MutexLock lock(&join_mu_);
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, name = absl::StrCat(options.name, i)] { Work(name); });
  }
}

DecodePool::~DecodePool() { Stop(); }

void DecodePool::Submit(Job job) {
  {
    MutexLock lock(&mu_);
    if (closed_) return;  // `job` is the caller's argument: it is destroyed after the lock is gone
    jobs_.push_back(std::move(job));
  }
  changed_.Signal();
}

void DecodePool::Stop() {
  std::deque<Job> dropped;
  {
    MutexLock lock(&mu_);
    closed_ = true;
    dropped.swap(jobs_);
  }
  changed_.SignalAll();
  dropped.clear();
  Join();
}

void DecodePool::Drain() {
  {
    MutexLock lock(&mu_);
    closed_ = true;
  }
  changed_.SignalAll();
  Join();
}

void DecodePool::Join() {
  MutexLock lock(&join_mu_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t DecodePool::waiting() const {
  MutexLock lock(&mu_);
  return jobs_.size();
}

void DecodePool::Work(const std::string& name) {
  SetThreadName(name.c_str());
  while (true) {
    Job job;
    {
      MutexLock lock(&mu_);
      while (jobs_.empty() && !closed_) changed_.Wait(&mu_);
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace embedd
