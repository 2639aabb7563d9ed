// SPDX-License-Identifier: Apache-2.0

#include "server/device/device_session.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/device/device_lost.h"
#include "server/device/output_check.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {

absl::Status DeviceSession::Start(CapController& cap) {
  memory_logged_ = deps_.clock->TimeNow();  // the first line after a minute: what a start holds says little
  absl::Status status = Load(first_tower());
  if (status.ok()) status = WarmUp(cap);
  if (status.ok()) return status;
  // What the failed start left there would be kept by a process that lives on.
  if (absl::Status gone = deps_.executor->Offload(); !gone.ok()) {
    LogWarn("after a failed start the device was not left", {{"error", std::string(gone.message())}});
  }
  return status;
}

absl::Status DeviceSession::RunBlank(int images, BatchBytes* bytes) {
  const Tower tower = first_tower();
  const size_t dimension = static_cast<size_t>(deps_.executor->dimension());
  const std::vector<const uint8_t*> same(static_cast<size_t>(images), options_.blank[tower].data());
  std::vector<float> rows(same.size() * dimension);
  BatchMemory memory(&deps_.executor->memory());
  const absl::Status status = deps_.executor->Run(tower, same, images, absl::MakeSpan(rows));
  *bytes = memory.End();
  if (!status.ok() || RowIsGood(absl::MakeConstSpan(rows).first(dimension))) return status;
  return absl::DataLossError(
      tower == Tower::kImage ? "the model gives no finite vector for a grey picture: its weights are damaged"
                             : "the model gives no finite vector for a text: its weights are damaged");
}

absl::Status DeviceSession::WarmUp(CapController& cap) {
  const MemoryReading rest = deps_.executor->memory().Read();
  cap.OnMemory(rest.limit, rest.allocated);
  for (const int rung : cap.ladder().rungs()) {
    // The first run of a shape compiles or allocates; the second is what a batch will cost.
    for (const bool counts : {false, true}) {
      const absl::Time start = deps_.clock->TimeNow();
      BatchBytes bytes;
      const absl::Status status = RunBlank(rung, &bytes);
      if (absl::IsResourceExhausted(status) && rung > 1) {
        cap.OnOutOfMemory(rung);
        deps_.executor->memory().Trim();
        return absl::OkStatus();
      }
      if (!status.ok()) return status;
      if (counts) cap.OnBatch(rung, rung, deps_.clock->TimeNow() - start, bytes);
    }
    if (!deps_.padded && cap.time().Predict(rung) > options_.warm_up_slowest) break;
  }
  // What the largest rungs took is more than the batches of callers may ever need.
  if (!deps_.padded) deps_.executor->memory().Trim();
  deps_.board->Publish(deps_.executor->memory().Read());
  return absl::OkStatus();
}

bool DeviceSession::StillWorks() {
  absl::Status status;
  try {
    BatchBytes bytes;
    status = RunBlank(1, &bytes);
  } catch (const std::exception& e) {
    status = absl::InternalError(e.what());
  }
  // Full is not lost.
  if (status.ok() || absl::IsResourceExhausted(status)) return true;
  LogError("after several failed batches the device does not compute a grey picture either",
           {{"error", std::string(status.message())}});
  return false;
}

BatchReport DeviceSession::AnswerAll(Batch batch, const Answer& failure, bool device_lost) {
  BatchReport report;
  report.tower = batch.tasks.front().tower;
  report.finished.answers.assign(batch.tasks.size(), failure);
  report.finished.tasks = std::move(batch.tasks);
  report.device_lost = device_lost;
  return report;
}

BatchReport DeviceSession::Run(Batch batch) {
  const Answer lost = Answer::Failure(Outcome::kFailed, DeviceLost(), Reason::kDeviceFailed);
  idle_trimmed_ = false;
  if (lost_) return AnswerAll(std::move(batch), lost, true);
  if (absl::Status loaded = Load(batch.tasks.front().tower); !loaded.ok()) {
    LogError("the weights could not come back to the device", {{"error", std::string(loaded.message())}});
    if (absl::IsResourceExhausted(loaded)) {
      return AnswerAll(std::move(batch), Answer::Failure(Outcome::kFailed, loaded, Reason::kDeviceMemory),
                       false);
    }
    lost_ = true;
    return AnswerAll(std::move(batch), lost, true);
  }
  BatchReport report = runner_.Run(std::move(batch));
  LogMemorySometimes();
  for (const Attempt& attempt : report.attempts) {
    if (!attempt.out_of_memory) failures_in_a_row_ = attempt.ok ? 0 : failures_in_a_row_ + 1;
  }
  if (!report.device_lost && failures_in_a_row_ >= options_.failures_to_doubt) {
    failures_in_a_row_ = 0;
    report.device_lost = !StillWorks();
  }
  lost_ = report.device_lost;
  return report;
}

void DeviceSession::OnIdle(absl::Duration idle) {
  if (lost_) return;
  DeviceMemory& memory = deps_.executor->memory();
  if (!idle_trimmed_ && deps_.policy->TrimWhenIdle(memory.Read(), idle)) {
    memory.Trim();
    idle_trimmed_ = true;
  }
  if (!away_ && options_.idle_offload > absl::ZeroDuration() && idle >= options_.idle_offload) {
    if (absl::Status status = Offload(); !status.ok())
      LogWarn("idle offload failed", {{"error", status.ToString()}});
  }
  ReturnHostMemorySometimes(idle);
  deps_.board->Publish(memory.Read());
  LogMemorySometimes();
}

void DeviceSession::ReturnHostMemorySometimes(absl::Duration idle) {
  constexpr absl::Duration kPause = absl::Seconds(5);
  const absl::Time now = deps_.clock->TimeNow();
  if (idle < kPause || now - host_memory_returned_ < kPause) return;
  host_memory_returned_ = now;
  ReturnFreeMemory();
}

absl::Status DeviceSession::Offload() {
  if (lost_) return DeviceLost();
  if (away_) return absl::OkStatus();
  if (absl::Status status = deps_.executor->Offload(); !status.ok()) return status;
  away_ = true;
  deps_.executor->memory().Trim();
  PublishBaseline();
  LogInfo("the weights left the device", {{"allocated", absl::StrCat(deps_.board->view().now.allocated)}});
  if (moved_) moved_(false);
  return absl::OkStatus();
}

absl::Status DeviceSession::Reload() {
  for (const Tower tower : kAllTowers) {
    if (tower != first_tower() && !wanted_[tower]) continue;
    if (absl::Status status = Load(tower); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status DeviceSession::Load(Tower tower) {
  if (lost_) return DeviceLost();
  if (on_device(tower)) return absl::OkStatus();
  const absl::Time start = deps_.clock->TimeNow();
  if (absl::Status status = deps_.executor->Load(tower); !status.ok()) return status;
  wanted_[tower] = true;
  PublishBaseline();
  LogInfo("the weights are on the device",
          {{"tower", TowerName(tower)},
           {"allocated", absl::StrCat(deps_.board->view().now.allocated)},
           {"seconds", absl::StrCat(absl::ToDoubleSeconds(deps_.clock->TimeNow() - start))}});
  if (std::exchange(away_, false) && moved_) moved_(true);
  return absl::OkStatus();
}

void DeviceSession::LogMemorySometimes() {
  const absl::Time now = deps_.clock->TimeNow();
  if (now - memory_logged_ < absl::Minutes(1)) return;
  memory_logged_ = now;
  const MemoryBoard::View view = deps_.board->view();
  LogInfo("memory", {{"allocated", absl::StrCat(view.now.allocated)},
                     {"baseline", absl::StrCat(view.baseline)},
                     {"reserved", absl::StrCat(view.now.reserved)},
                     {"peak", absl::StrCat(view.highest_peak)},
                     {"limit", absl::StrCat(view.now.limit)},
                     {"process", absl::StrCat(ProcessFootprintBytes())}});
}

void DeviceSession::PublishBaseline() {
  runner_.leak_watch().Reset();
  const MemoryReading reading = deps_.executor->memory().Read();
  deps_.board->Publish(reading);
  deps_.board->SetBaseline(reading.allocated);
}

}  // namespace embedd
