// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_group.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/device/device_lost.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// Collects what the devices say about one move.
struct Moving {
  Mutex mu;
  size_t left ABSL_GUARDED_BY(mu) = 0;
  WeightsMove sum ABSL_GUARDED_BY(mu);
  absl::Status status ABSL_GUARDED_BY(mu);
  Reason reason ABSL_GUARDED_BY(mu) = Reason::kNone;
  WeightsMoved done;
};

}  // namespace

DeviceGroup::DeviceGroup(std::vector<Device> devices, Deps deps)
    : deps_(std::move(deps)), lost_(devices.size(), false), offloaded_(devices.size(), false) {
  for (size_t i = 0; i < devices.size(); ++i) {
    devices_.push_back(std::make_unique<DeviceThread>(
        devices[i].options, std::move(devices[i].executor),
        DeviceThread::Deps{.queue = deps_.queue,
                           .metrics = deps_.metrics,
                           .ledger = deps_.ledger,
                           .reply = deps_.reply,
                           .on_lost = [this, i] { OnLost(i, "the device failed"); },
                           .on_moved = [this, i](bool on_device) { OnMoved(i, on_device); },
                           .wake_another = [this] { WakeOne(); },
                           .clock = deps_.clock}));
  }
  deps_.queue->SetPushListener([this] { WakeOne(); });
}

DeviceGroup::~DeviceGroup() { watchdog_.reset(); }

void DeviceGroup::WakeOne() {
  for (const std::unique_ptr<DeviceThread>& device : devices_) {
    if (device->WakeIfWaiting()) return;
  }
}

absl::Status DeviceGroup::Start() {
  absl::Status status;
  std::vector<Watchdog::Watched> watched;
  for (size_t i = 0; i < devices_.size(); ++i) {
    DeviceThread* device = devices_[i].get();
    watched.push_back({.work =
                           [device] {
                             const DeviceThread::Busy busy = device->busy();
                             return Watchdog::Work{.since = busy.since, .allowed = busy.allowed};
                           },
                       .on_hang = [this, i] { OnHang(i); }});
    if (device->is_processor()) watched.back().cpu_time = [device] { return device->cpu_time(); };
  }
  watchdog_ = std::make_unique<Watchdog>(std::move(watched), deps_.watch_interval);
  for (const std::unique_ptr<DeviceThread>& device : devices_) {
    status = device->Start();
    if (!status.ok()) break;
  }
  if (!status.ok()) {
    Stop(absl::Seconds(10));
    return status;
  }
  MutexLock lock(&mu_);
  started_ = true;
  PublishState();
  return absl::OkStatus();
}

void DeviceGroup::OnMoved(size_t device, bool on_device) {
  MutexLock lock(&mu_);
  offloaded_[device] = !on_device;
  if (started_) PublishState();
}

void DeviceGroup::PublishState() {
  bool away = true;
  for (size_t i = 0; i < devices_.size(); ++i) away = away && (offloaded_[i] || lost_[i]);
  deps_.state->Set(away ? ServerState::kOffloaded : ServerState::kReady);
}

void DeviceGroup::OnHang(size_t device) {
  const DeviceThread::Busy busy = devices_[device]->busy();
  LogError("a device does not answer", {{"device", devices_[device]->name()},
                                        {"doing", std::string(busy.doing)},
                                        {"since", absl::FormatDuration(busy.since)},
                                        {"allowed", absl::FormatDuration(busy.allowed)}});
  devices_[device]->GiveUp();
  OnLost(device, absl::StrCat(busy.doing.empty() ? "work" : std::string(busy.doing), " hangs"));
}

void DeviceGroup::OnLost(size_t device, const std::string& why) {
  bool last = false;
  {
    MutexLock lock(&mu_);
    if (lost_[device]) return;
    lost_[device] = true;
    last = std::find(lost_.begin(), lost_.end(), false) == lost_.end();
    if (!last && started_) PublishState();  // the weights may have been on this one only
  }
  if (last) {
    LogError("the device is lost; the process ends with exit code 5 for its supervisor to restart it",
             {{"device", devices_[device]->name()}, {"why", why}});
    deps_.state->Set(ServerState::kFailed, why);
    deps_.queue->FailAll(DeviceLost(), Reason::kDeviceFailed);
  } else {
    LogError("a device is lost; the others go on", {{"device", devices_[device]->name()}, {"why", why}});
  }
  devices_[device]->FailInFlight(DeviceLost(), Reason::kDeviceFailed);
  if (last) {
    deps_.on_all_lost();
  } else {
    WakeOne();  // it may have been woken for what now waits
  }
}

void DeviceGroup::Move(bool onto_device, WeightsMoved done) {
  std::vector<DeviceThread*> asked;
  for (const std::unique_ptr<DeviceThread>& device : devices_) {
    if (device->serving()) asked.push_back(device.get());
  }
  if (asked.empty()) return done(DeviceLost(), Reason::kDeviceFailed);
  const auto moving = std::make_shared<Moving>();
  moving->done = std::move(done);
  {
    MutexLock lock(&moving->mu);
    moving->left = asked.size();
  }
  for (DeviceThread* device : asked) {
    device->Move(onto_device, [moving](absl::StatusOr<WeightsMove> moved, Reason reason) {
      absl::StatusOr<WeightsMove> result;
      {
        MutexLock lock(&moving->mu);
        if (moved.ok()) {
          moving->sum.allocated_before += moved->allocated_before;
          moving->sum.allocated_after += moved->allocated_after;
          moving->sum.took = std::max(moving->sum.took, moved->took);
        } else {
          moving->status = moved.status();
          moving->reason = reason;
        }
        if (--moving->left > 0) return;
        result = moving->sum;
        if (!moving->status.ok()) result = moving->status;
        reason = moving->reason;
      }
      moving->done(std::move(result), reason);
    });
  }
}

absl::Duration DeviceGroup::ExpectedTime(Lane lane, const PerTower<int>& more,
                                         InputCounts prepared_later) const {
  for (const Tower tower : kAllTowers) prepared_later.At(tower, lane) += more[tower];
  const InputCounts waiting = deps_.queue->counts();
  PerTower<int> all = deps_.queue->LeaveUntilLastOf(lane, prepared_later);
  std::vector<const DeviceThread*> serving;
  double rate = 0;
  PerTower<bool> counts;  // whether the times of the tower do
  for (const std::unique_ptr<DeviceThread>& device : devices_) {
    if (!device->serving()) continue;
    serving.push_back(device.get());
    rate += device->Rate();
    const PerTower<int> in_flight = device->in_flight();
    for (const Tower tower : kAllTowers) {
      all[tower] += in_flight[tower];
      counts[tower] = counts[tower] || waiting.of(tower) > 0 || device->TimesAreFresh(tower);
    }
  }
  if (rate <= 0) return absl::ZeroDuration();
  // Each pulls as fast as it works, so it gets its part of all there is. One that was not measured with the
  // second tower yet is taken to be as much faster or slower with it as with the first.
  absl::Duration longest;
  for (const DeviceThread* device : serving) {
    PerTower<int> part;
    for (const Tower tower : kAllTowers) {
      if (counts[tower]) part[tower] = static_cast<int>(std::ceil(all[tower] * device->Rate() / rate));
    }
    longest = std::max(longest, device->TimeOf(part));
  }
  return longest;
}

PerTower<absl::Duration> DeviceGroup::LeastTimes() const {
  PerTower<absl::Duration> times;
  for (const Tower tower : kAllTowers) {
    PerTower<int> one;
    one[tower] = 1;
    times[tower] = std::min(ExpectedTime(Lane::kInteractive, one), ExpectedBatchTime(one));
  }
  return times;
}

absl::Duration DeviceGroup::ExpectedBatchTime(const PerTower<int>& inputs) const {
  const bool any = inputs[Tower::kImage] == 0 && inputs[Tower::kText] == 0;
  absl::Duration longest;
  for (const std::unique_ptr<DeviceThread>& device : devices_) {
    if (!device->serving()) continue;
    for (const Tower tower : kAllTowers) {
      if (any || inputs[tower] > 0) longest = std::max(longest, device->BatchTime(tower));
    }
  }
  return longest;
}

void DeviceGroup::FailInFlight(const absl::Status& status, Reason reason) {
  for (const std::unique_ptr<DeviceThread>& device : devices_) device->FailInFlight(status, reason);
}

bool DeviceGroup::Stop(absl::Duration limit) {
  watchdog_.reset();
  const absl::Time give_up_at = Clock::Real()->TimeNow() + limit;
  bool ended = true;
  for (const std::unique_ptr<DeviceThread>& device : devices_)
    ended = device->Stop(std::max(absl::ZeroDuration(), give_up_at - Clock::Real()->TimeNow())) && ended;
  return ended;
}

}  // namespace embedd
