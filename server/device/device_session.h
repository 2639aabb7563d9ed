// SPDX-License-Identifier: Apache-2.0
//
// DeviceSession: the life of the model on the device: load, warm up, run batches, leave the device when idle,
// come back. Part of DeviceThread, and used on that thread only.

#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/batching/cap_controller.h"
#include "server/device/batch_runner.h"
#include "server/telemetry/per_tower.h"

namespace embedd {

class DeviceSession {
 public:
  struct Options {
    // A prepared input of each tower that every model takes, to warm up and to look for life with; empty
    // where the tower is not served.
    PerTower<std::vector<uint8_t>> blank;
    // The weights leave the device after this long without work; zero: never.
    absl::Duration idle_offload = absl::ZeroDuration();
    // Warm-up stops after a rung that takes longer than this, where shapes are not compiled (cpu).
    absl::Duration warm_up_slowest = absl::Milliseconds(500);
    // Failed batches in a row (not out of memory) after which the device has to show that it still works.
    // Inputs may make a batch fail, and then they fail the next one too; a device that is lost fails all.
    int failures_to_doubt = 5;
  };

  // `moved` is told when the weights leave the device and when they come back, not when they first come. May
  // be null.
  DeviceSession(Options options, BatchRunner::Deps deps, std::function<void(bool on_device)> moved = nullptr)
      : options_(options), deps_(deps), moved_(std::move(moved)), runner_(deps) {}

  // Loads the weights of the first tower, runs each rung of the ladder once and teaches `cap` what it took.
  // Another tower is loaded when its first input comes. kDataLoss: the model gives numbers that are no
  // vectors. kResourceExhausted: not even one image fits. After an error nothing is on the device.
  absl::Status Start(CapController& cap);

  // Runs a batch, loading the weights of its tower first when they are away. Once the device is lost nothing
  // touches it any more: every later batch is answered DEVICE_FAILED at once.
  BatchReport Run(Batch batch);

  // Between batches; `idle` is the time since the last one.
  void OnIdle(absl::Duration idle);

  // By hand. Offload returns when the weights left; Reload when they are back.
  absl::Status Offload();
  absl::Status Reload();
  bool on_device(Tower tower) const { return deps_.executor->loaded(tower); }
  // The image tower, unless only texts are served.
  Tower first_tower() const { return options_.blank[Tower::kImage].empty() ? Tower::kText : Tower::kImage; }

 private:
  absl::Status WarmUp(CapController& cap);
  // Puts the weights of a tower where they are not yet.
  absl::Status Load(Tower tower);
  // A batch of grey pictures, or of a text of one word, as in the warm-up.
  absl::Status RunBlank(int images, BatchBytes* bytes);
  bool StillWorks();
  static BatchReport AnswerAll(Batch batch, const Answer& failure, bool device_lost);
  void PublishBaseline();
  // One line a minute: what the device and the process hold.
  void LogMemorySometimes();
  // Calls that were refused leave free memory behind too, so this does not ask whether a batch ran.
  void ReturnHostMemorySometimes(absl::Duration idle);

  const Options options_;
  const BatchRunner::Deps deps_;
  const std::function<void(bool on_device)> moved_;
  BatchRunner runner_;
  bool away_ = false;      // the weights left, and have not come back
  PerTower<bool> wanted_;  // towers that were ever loaded: Reload brings them back, and always the first
  absl::Time memory_logged_ = absl::InfinitePast();
  absl::Time host_memory_returned_ = absl::InfinitePast();
  bool lost_ = false;
  // Since the last batch: what a trim leaves in the cache, the next one leaves too.
  bool idle_trimmed_ = false;
  int failures_in_a_row_ = 0;
};

}  // namespace embedd
