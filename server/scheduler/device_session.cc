// SPDX-License-Identifier: Apache-2.0

#include "server/scheduler/device_session.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/executor/output_check.h"
#include "server/support/log.h"

namespace embedd {

absl::Status DeviceSession::Start(CapController& cap) {
  if (absl::Status loaded = Reload(); !loaded.ok()) return loaded;
  if (absl::Status warm = WarmUp(cap); !warm.ok()) return warm;
  state_->Set(ServerState::kReady);
  return absl::OkStatus();
}

absl::Status DeviceSession::WarmUp(CapController& cap) {
  const std::vector<uint8_t> grey(static_cast<size_t>(options_.pixel_bytes), 127);
  const size_t dimension = static_cast<size_t>(deps_.executor->dimension());
  const MemoryReading rest = deps_.executor->memory().Read();
  cap.OnMemory(rest.limit, rest.allocated);
  for (const int rung : cap.ladder().rungs()) {
    const std::vector<const uint8_t*> images(static_cast<size_t>(rung), grey.data());
    std::vector<float> rows(images.size() * dimension);
    // The first run of a shape compiles or allocates; the second is what a batch will cost.
    for (const bool counts : {false, true}) {
      const absl::Time start = deps_.clock->TimeNow();
      BatchMemory memory(&deps_.executor->memory());
      const absl::Status status = deps_.executor->Run(images, rung, absl::MakeSpan(rows));
      const BatchBytes bytes = memory.End();
      if (absl::IsResourceExhausted(status) && rung > 1) {
        cap.OnOutOfMemory(rung);
        deps_.executor->memory().Trim();
        return absl::OkStatus();
      }
      if (!status.ok()) return status;
      if (counts) cap.OnBatch(rung, rung, deps_.clock->TimeNow() - start, bytes);
    }
    if (!RowIsGood(absl::MakeConstSpan(rows).first(dimension))) {
      return absl::DataLossError(
          "the model gives no finite vector for a grey picture: its weights are damaged");
    }
    if (!deps_.padded && cap.time().Predict(rung) > options_.warm_up_slowest) break;
  }
  deps_.board->Publish(deps_.executor->memory().Read());
  return absl::OkStatus();
}

BatchReport DeviceSession::Run(Batch batch) {
  if (absl::Status loaded = Reload(); !loaded.ok()) {
    LogError("the weights could not come back to the device", {{"error", std::string(loaded.message())}});
    BatchReport report;
    for (size_t i = 0; i < batch.tasks.size(); ++i) {
      report.finished.answers.push_back(absl::IsResourceExhausted(loaded)
                                            ? Answer::Failure(Outcome::kFailed, loaded, "DEVICE_MEMORY")
                                            : Answer::Failure(Outcome::kFailed,
                                                              absl::UnavailableError("the device was lost"),
                                                              "DEVICE_FAILED"));
    }
    report.finished.tasks = std::move(batch.tasks);
    report.device_lost = !absl::IsResourceExhausted(loaded);
    return report;
  }
  BatchReport report = runner_.Run(std::move(batch));
  for (const Attempt& attempt : report.attempts) {
    if (!attempt.out_of_memory) failures_in_a_row_ = attempt.ok ? 0 : failures_in_a_row_ + 1;
  }
  if (failures_in_a_row_ >= options_.failures_to_lose) report.device_lost = true;
  return report;
}

void DeviceSession::OnIdle(absl::Duration idle) {
  DeviceMemory& memory = deps_.executor->memory();
  if (deps_.policy->TrimWhenIdle(memory.Read(), idle)) memory.Trim();
  if (on_device_ && options_.idle_offload > absl::ZeroDuration() && idle >= options_.idle_offload) {
    if (absl::Status status = Offload(); !status.ok())
      LogWarn("idle offload failed", {{"error", status.ToString()}});
  }
  deps_.board->Publish(memory.Read());
}

absl::Status DeviceSession::Offload() {
  if (!on_device_) return absl::OkStatus();
  if (absl::Status status = deps_.executor->Offload(); !status.ok()) return status;
  on_device_ = false;
  deps_.executor->memory().Trim();
  PublishBaseline();
  LogInfo("the weights left the device", {{"allocated", absl::StrCat(deps_.board->view().now.allocated)}});
  state_->Set(ServerState::kOffloaded);
  return absl::OkStatus();
}

absl::Status DeviceSession::Reload() {
  if (on_device_) return absl::OkStatus();
  const absl::Time start = deps_.clock->TimeNow();
  if (absl::Status status = deps_.executor->Load(); !status.ok()) return status;
  on_device_ = true;
  PublishBaseline();
  LogInfo("the weights are on the device",
          {{"allocated", absl::StrCat(deps_.board->view().now.allocated)},
           {"seconds", absl::StrCat(absl::ToDoubleSeconds(deps_.clock->TimeNow() - start))}});
  if (state_->state() == ServerState::kOffloaded) state_->Set(ServerState::kReady);
  return absl::OkStatus();
}

void DeviceSession::PublishBaseline() {
  runner_.leak_watch().Reset();
  const MemoryReading reading = deps_.executor->memory().Read();
  deps_.board->Publish(reading);
  deps_.board->SetBaseline(reading.allocated);
}

}  // namespace embedd
