// SPDX-License-Identifier: Apache-2.0
//
// DeviceGroup: the devices of the server, which pull from one queue. It wakes one of them for a push, watches
// all of them, asks all of them when an operator moves the weights, and knows what the loss of one means: the
// others go on; the last one takes the server with it. Thread-safe after Start.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/device/device_thread.h"
#include "server/device/watchdog.h"
#include "server/telemetry/server_state.h"

namespace embedd {

class DeviceGroup {
 public:
  struct Deps {
    BoundedQueue* queue;
    Metrics* metrics;
    BatchLedger* ledger;
    StateBoard* state;
    std::function<void(FinishedBatch)> reply;  // as of DeviceThread
    // Called once, from any thread, when the last device is lost or hangs: `state` is FAILED, and everything
    // that waited is answered.
    std::function<void()> on_all_lost;
    Clock* clock = Clock::Real();
    absl::Duration watch_interval = absl::Seconds(1);
  };
  struct Device {
    DeviceThread::Options options;
    std::unique_ptr<Executor> executor;
  };

  // At least one device. Takes the queue's push listener.
  DeviceGroup(std::vector<Device> devices, Deps deps);
  // As of DeviceThread.
  ~DeviceGroup();

  // Loads every device, one after the other, then the state is READY. Blocks. The first failure is returned,
  // and nothing is left on any device.
  absl::Status Start();

  // On every device that serves. The sum of the bytes, and the time of the longest. `done` is told once.
  void Move(bool onto_device, WeightsMoved done);

  // How long `more` inputs of `lane` would take from now to their answer, by what goes before them and the
  // times that were measured of each tower. `prepared_later` are those that are not in the queue yet. Zero
  // while nothing is known.
  absl::Duration ExpectedTime(Lane lane, const PerTower<int>& more, InputCounts prepared_later = {}) const;
  // What one interactive input of each tower needs from now on, at least: no more than a full batch of it.
  PerTower<absl::Duration> LeastTimes() const;
  // Of a full batch of a tower that `inputs` are for, of any where there are none; on the device and for the
  // tower that need the longest. Zero while nothing is known.
  absl::Duration ExpectedBatchTime(const PerTower<int>& inputs) const;

  // As of DeviceThread, of every device.
  void FailInFlight(const absl::Status& status, Reason reason);
  // As of DeviceThread; `limit` is for all of them together.
  bool Stop(absl::Duration limit);

  const std::vector<std::unique_ptr<DeviceThread>>& devices() const { return devices_; }
  // One look of the watchdog, for tests.
  void LookForHangs() { watchdog_->Look(); }

 private:
  void WakeOne();
  void OnMoved(size_t device, bool on_device);
  // READY, or OFFLOADED when no device that is left holds weights.
  void PublishState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnHang(size_t device);
  void OnLost(size_t device, const std::string& why);

  const Deps deps_;
  std::vector<std::unique_ptr<DeviceThread>> devices_;  // fixed after the constructor
  Mutex mu_;
  std::vector<bool> lost_ ABSL_GUARDED_BY(mu_);
  std::vector<bool> offloaded_ ABSL_GUARDED_BY(mu_);
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<Watchdog> watchdog_;  // last: it uses the devices
};

}  // namespace embedd
