// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_thread.h"

#include <utility>

namespace embedd {

DeviceThread::DeviceThread(Clock* clock)
    : clock_(clock), since_(clock->TimeNow()), thread_([this] { Loop(); }) {}

DeviceThread::~DeviceThread() { Stop(); }

bool DeviceThread::Post(std::function<void()> work) {
  MutexLock lock(&mu_);
  if (stopping_) return false;  // `work` is the caller's argument: it dies after the lock is gone
  work_.push_back(std::move(work));
  wake_.Signal();
  return true;
}

bool DeviceThread::Run(const std::function<void()>& work) {
  Mutex mu;
  CondVar done_cv;
  bool done = false;
  const bool posted = Post([&] {
    work();
    MutexLock lock(&mu);
    done = true;
    done_cv.Signal();
  });
  if (!posted) return false;
  MutexLock lock(&mu);
  while (!done) done_cv.Wait(&mu);
  return true;
}

void DeviceThread::SetIdleAction(absl::Duration period, std::function<void(absl::Duration)> action) {
  MutexLock lock(&mu_);
  idle_period_ = period;
  idle_action_ = std::move(action);
  wake_.Signal();
}

absl::Duration DeviceThread::busy_for() const {
  MutexLock lock(&mu_);
  return busy_ ? clock_->TimeNow() - since_ : absl::ZeroDuration();
}

size_t DeviceThread::waiting() const {
  MutexLock lock(&mu_);
  return work_.size();
}

void DeviceThread::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    wake_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void DeviceThread::Loop() {
  SetThreadName("embed-device");
  while (true) {
    std::function<void()> work;
    std::function<void(absl::Duration)> idle_action;
    absl::Duration idle;
    {
      MutexLock lock(&mu_);
      if (work_.empty() && !stopping_) wake_.WaitFor(&mu_, idle_period_);
      if (!work_.empty()) {
        work = std::move(work_.front());
        work_.pop_front();
        busy_ = true;
        since_ = clock_->TimeNow();
      } else if (stopping_) {
        return;
      } else {
        idle_action = idle_action_;
        idle = clock_->TimeNow() - since_;
      }
    }
    if (work) {
      work();
      work = nullptr;  // what it held dies here, before the thread counts as idle
      MutexLock lock(&mu_);
      busy_ = false;
      since_ = clock_->TimeNow();
    } else if (idle_action) {
      idle_action(idle);
    }
  }
}

}  // namespace embedd
