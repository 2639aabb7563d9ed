// SPDX-License-Identifier: Apache-2.0

#include "tests/remedies/real_device.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>

#include "server/engine/torch_executor.h"
#include "server/model/model_folder.h"
#include "server/release/torch_device_memory.h"
#include "server/reply/reply_stage.h"

namespace embedd {
namespace {

// Batches of different sizes add up in different orders.
constexpr double kClose = 1e-5;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(std::string(value.status().message()));
  return *std::move(value);
}

std::unique_ptr<Executor> DemoModel() {
  return Must(TorchExecutor::Create(Must(ReadModelFolder(DEMO_MODEL)),
                                    Must(CreateTorchDeviceMemory(DeviceKind::kCpu, 0)),
                                    {.dtype = Dtype::kF32, .threads = 1}));
}

int64_t PixelBytes() {
  static const ImageSpec image = Must(ReadModelFolder(DEMO_MODEL)).image;
  return int64_t{3} * image.height * image.width;
}

double UnitDifference(absl::Span<const float> a, absl::Span<const float> b) {
  double aa = 0, bb = 0, dd = 0;
  for (const float v : a) aa += double{v} * v;
  for (const float v : b) bb += double{v} * v;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = a[i] / std::sqrt(aa) - b[i] / std::sqrt(bb);
    dd += d * d;
  }
  return std::sqrt(dd);
}

class RowKeeper final : public CallSink {
 public:
  void OnAnswer(uint32_t, Answer answer) override { row.assign(answer.row.begin(), answer.row.end()); }
  std::vector<float> row;
};

}  // namespace

struct ScriptedExecutor::Blocks {
  std::vector<c10::DataPtr> blocks;
};

ScriptedExecutor::ScriptedExecutor(std::unique_ptr<Executor> real)
    : real_(std::move(real)), leaked_(std::make_unique<Blocks>()) {}

ScriptedExecutor::~ScriptedExecutor() = default;

absl::Status ScriptedExecutor::Load(Tower tower) {
  ++loads;
  return real_->Load(tower);
}

absl::Status ScriptedExecutor::Run(Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                                   absl::Span<float> rows) {
  if (on_run) {
    const c10::DataPtr of_the_batch = c10::GetCPUAllocator()->allocate(1 << 20);
    on_run();
  }
  if (leak_bytes > 0) Leak(leak_bytes);
  const absl::Status status = real_->Run(tower, inputs, bucket, rows);
  if (on_rows) on_rows(rows);
  return status;
}

void ScriptedExecutor::Leak(int64_t bytes) {
  leaked_->blocks.push_back(c10::GetCPUAllocator()->allocate(static_cast<size_t>(bytes)));
}

void ScriptedExecutor::ForgetLeaks() { leaked_->blocks.clear(); }

RealDevice::RealDevice(Options options)
    : policy(options.policy),
      ladder(options.max_batch),
      executor(DemoModel()),
      session((options.session.blank[Tower::kImage].assign(static_cast<size_t>(PixelBytes()), 127),
               options.session),
              deps()),
      cap({.max_batch = options.max_batch, .latency_target = absl::ZeroDuration()}),
      pixel_bytes_(PixelBytes()) {
  if (absl::Status loaded = session.Reload(); !loaded.ok())
    throw std::runtime_error(std::string(loaded.message()));
}

BatchRunner::Deps RealDevice::deps() {
  return {.executor = &executor,
          .clock = &clock,
          .metrics = &metrics,
          .device_metrics = metrics.AddDevice("cpu"),
          .board = &board,
          .ledger = &ledger,
          .policy = &policy,
          .ladder = &ladder};
}

Batch RealDevice::MakeBatch(const std::shared_ptr<CallSink>& call, int n, int first) {
  Batch batch;
  for (int i = 0; i < n; ++i) {
    EmbedTask task(call, static_cast<uint32_t>(i));
    task.pixels = std::make_unique<uint8_t[]>(static_cast<size_t>(pixel_bytes_));
    std::minstd_rand noise(static_cast<unsigned>((first + i) % kPictures) + 1);
    for (int64_t k = 0; k < pixel_bytes_; ++k)
      task.pixels[static_cast<size_t>(k)] = static_cast<uint8_t>(noise() >> 8);
    task.queued_at = clock.TimeNow();
    batch.tasks.push_back(std::move(task));
  }
  return batch;
}

BatchReport RealDevice::Run(const std::shared_ptr<CallSink>& call, int n, int first,
                            CapController* learning) {
  BatchReport report = session.Run(MakeBatch(call, n, first));
  if (learning != nullptr) {
    learning->OnMemory(board.view().now.limit, board.view().baseline);
    for (const Attempt& attempt : report.attempts) {
      if (attempt.out_of_memory) {
        learning->OnOutOfMemory(attempt.bucket);
      } else if (attempt.ok) {
        learning->OnBatch(attempt.images, attempt.bucket, absl::Milliseconds(attempt.images), attempt.bytes);
      }
    }
  }
  DeliverAnswers(std::move(report.finished));
  return report;
}

int64_t RealDevice::PeakOf(int n) { return Run(std::make_shared<RowKeeper>(), n).attempts.at(0).bytes.peak; }

void RealDevice::SetLimit(int64_t bytes) {
  const int64_t all = int64_t{1} << 60;  // cut to what there is
  if (absl::Status status = executor.memory().ChangeLimit(bytes > 0 ? bytes : all); !status.ok())
    throw std::runtime_error(std::string(status.message()));
}

void CheckedCall::OnAnswer(uint32_t index, Answer answer) {
  ++answers.at(index);
  const std::vector<float>& alone =
      rows_->at(static_cast<size_t>((first_ + static_cast<int>(index)) % RealDevice::kPictures));
  if (answer.outcome != Outcome::kOk || answer.row.size() != alone.size()) {
    ++wrong;
    return;
  }
  const double difference = UnitDifference(answer.row, alone);
  wrong += !(difference <= kClose);
  if (difference > largest_difference) largest_difference = difference;
}

int CheckedCall::lost() const {
  int lost = 0;
  for (const int n : answers) lost += n != 1;
  return lost;
}

std::vector<std::vector<float>> RowsAlone(RealDevice& device) {
  std::vector<std::vector<float>> rows;
  for (int i = 0; i < RealDevice::kPictures; ++i) {
    const auto keeper = std::make_shared<RowKeeper>();
    device.Run(keeper, 1, i);
    rows.push_back(keeper->row);
  }
  return rows;
}

}  // namespace embedd
