// SPDX-License-Identifier: Apache-2.0
//
// DecodePool: a fixed number of named threads that run jobs in the order given. The rpc stage gives it decode
// jobs. The queue has no bound of its own: a job is only made once its place in the bounded queue is
// reserved.

#pragma once

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "server/support/mutex.h"

namespace embedd {

class DecodePool {
 public:
  // Must not throw. May own move-only things; they are destroyed when the job has run or was dropped.
  using Job = absl::AnyInvocable<void()>;

  struct Options {
    int threads = 1;
    std::string name = "embed-dec";  // threads are called <name>0, <name>1, …; at most 15 characters on Linux
  };

  explicit DecodePool(const Options& options);
  // Stop().
  ~DecodePool();
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  // Runs `job` on one of the threads. After Stop or Drain it is dropped: destroyed on this thread, not run.
  void Submit(Job job);

  // Takes no more jobs, drops the waiting ones, and returns when the running ones have ended and all threads
  // are gone. Jobs are destroyed without a lock held, so their destructors may call Submit. Safe to call
  // again, and from several threads; not from a job.
  void Stop();
  // The same, but runs the waiting jobs first.
  void Drain();

  // Jobs that wait for a thread.
  size_t waiting() const;

 private:
  void Work(const std::string& name);
  void Join();

  mutable Mutex mu_;
  CondVar changed_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Mutex join_mu_;  // one joiner at a time
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mu_);
};

}  // namespace embedd
