// SPDX-License-Identifier: Apache-2.0

#include "server/device/batch_runner.h"

#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/device/device_lost.h"
#include "server/device/output_check.h"
#include "server/support/log.h"

namespace embedd {
namespace {

// The real executor catches everything; this is the net under a bug: the process lives on.
absl::Status RunCatching(Executor& executor, Tower tower, absl::Span<const uint8_t* const> inputs, int bucket,
                         absl::Span<float> rows) {
  try {
    return executor.Run(tower, inputs, bucket, rows);
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("exception in the executor: ", e.what()));
  }
}

// Of the calls in a part that have one; the first few.
std::vector<std::string> TraceIds(const BatchReport& report, const std::vector<size_t>& part) {
  constexpr size_t kMost = 8;
  std::vector<std::string> ids;
  const CallSink* last = nullptr;
  for (const size_t i : part) {
    const CallSink* call = report.finished.tasks[i].call();
    if (std::exchange(last, call) == call || !call->trace().has_value()) continue;
    std::string id = HexOf(call->trace()->trace_id);
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) continue;
    ids.push_back(std::move(id));
    if (ids.size() == kMost) break;
  }
  return ids;
}

Answer Lost() { return Answer::Failure(Outcome::kFailed, DeviceLost(), Reason::kDeviceFailed); }

}  // namespace

BatchReport BatchRunner::Run(Batch batch) {
  BatchReport report;
  if (!batch.tasks.empty()) report.tower = batch.tasks.front().tower;
  const size_t n = batch.tasks.size();
  report.finished.tasks = std::move(batch.tasks);
  report.finished.answers.resize(n);
  report.finished.rows.resize(n * static_cast<size_t>(deps_.executor->dimension()));

  std::vector<Pending> pending(1);  // a stack: the next one last
  for (size_t i = 0; i < n; ++i) pending[0].part.push_back(i);

  while (!pending.empty()) {
    Pending next = std::move(pending.back());
    pending.pop_back();
    next.part = StillWanted(report, std::move(next.part));
    if (next.part.empty()) continue;
    if (report.device_lost) {
      AnswerFailure(report, next.part, Lost());
      continue;
    }

    Attempt attempt{.id = deps_.ledger->NextId(), .images = static_cast<int>(next.part.size())};
    attempt.bucket = deps_.padded ? deps_.ladder->Up(attempt.images) : attempt.images;
    const absl::Status status = RunPart(report, next.part, attempt);
    if (!deps_.executor->memory().CheckSane().ok()) {
      report.device_lost = true;
      OnFailure(report, next.part, attempt, "the device's memory counters are garbage");
    } else if (status.ok()) {
      attempt.ok = true;
      AnswerRows(report, next.part, attempt);
    } else if (absl::IsResourceExhausted(status)) {
      attempt.out_of_memory = true;
      OnOutOfMemory(report, std::move(next), attempt, status, &pending);
    } else {
      report.device_lost = absl::IsUnavailable(status);
      OnFailure(report, next.part, attempt, status.message());
    }
    report.attempts.push_back(attempt);
  }

  if (deps_.policy->TrimAfterBatch(deps_.executor->memory().Read())) deps_.executor->memory().Trim();
  deps_.board->Publish(deps_.executor->memory().Read());
  return report;
}

void BatchRunner::OnOutOfMemory(BatchReport& report, Pending failed, const Attempt& attempt,
                                const absl::Status& status, std::vector<Pending>* pending) {
  const bool give_up = failed.graphs_dropped;
  Record(report, failed.part, attempt, give_up ? "oom_failed" : "oom_split");
  deps_.device_metrics->CountOom(give_up ? "failed" : "split");
  if (give_up) {
    AnswerFailure(report, failed.part,
                  Answer::Failure(Outcome::kFailed,
                                  absl::ResourceExhaustedError(absl::StrCat(
                                      "this image alone does not fit in device memory: ", status.message())),
                                  Reason::kDeviceMemory));
    return;
  }
  // Compiled graphs cost a lot to make again: only for an image that is alone and for which trimming did not
  // do.
  const bool alone = failed.part.size() == 1;
  const bool drop_graphs = alone && failed.trimmed;
  MakeRoom(drop_graphs);
  if (alone) {
    pending->push_back({std::move(failed.part), /*trimmed=*/true, /*graphs_dropped=*/drop_graphs});
    return;
  }
  const auto middle = failed.part.begin() + static_cast<std::ptrdiff_t>((failed.part.size() + 1) / 2);
  pending->push_back({Part(middle, failed.part.end()), /*trimmed=*/true});
  pending->push_back({Part(failed.part.begin(), middle), /*trimmed=*/true});
}

void BatchRunner::OnFailure(BatchReport& report, const Part& part, const Attempt& attempt,
                            absl::string_view why) {
  Record(report, part, attempt, report.device_lost ? "device_failed" : "failed");
  LogError("a batch failed", {{"batch", absl::StrCat(attempt.id)},
                              {"images", absl::StrCat(part.size())},
                              {"trace_ids", absl::StrJoin(TraceIds(report, part), ",")},
                              {"error", std::string(why)}});
  AnswerFailure(
      report, part,
      report.device_lost
          ? Lost()
          : Answer::Failure(Outcome::kFailed,
                            absl::InternalError("the device batch failed; the server's log says why"),
                            Reason::kInternalError));
}

absl::Status BatchRunner::RunPart(BatchReport& report, const Part& part, Attempt& attempt) {
  std::vector<const uint8_t*> images;
  images.reserve(part.size());
  for (const size_t i : part) images.push_back(report.finished.tasks[i].pixels.get());
  // Parts are contiguous unless a task was dropped in between; rows of a part are always written side by
  // side.
  const size_t dimension = static_cast<size_t>(deps_.executor->dimension());
  std::vector<float> scattered;
  const bool contiguous = part.back() - part.front() + 1 == part.size();
  absl::Span<float> rows;
  if (contiguous) {
    rows = absl::MakeSpan(report.finished.rows).subspan(part.front() * dimension, part.size() * dimension);
  } else {
    scattered.resize(part.size() * dimension);
    rows = absl::MakeSpan(scattered);
  }

  const absl::Time start = deps_.clock->TimeNow();
  for (const size_t i : part) {
    report.finished.answers[i].queue = start - report.finished.tasks[i].queued_at;
    report.finished.answers[i].decode = report.finished.tasks[i].decode_took;
  }
  BatchMemory memory(&deps_.executor->memory());
  const absl::Status status = RunCatching(*deps_.executor, report.tower, images, attempt.bucket, rows);
  attempt.took = std::max(deps_.clock->TimeNow() - start, absl::ZeroDuration());
  attempt.bytes = memory.End();
  deps_.board->Publish(deps_.executor->memory().Read());

  if (!contiguous) {
    for (size_t k = 0; k < part.size(); ++k) {
      std::copy_n(scattered.begin() + static_cast<std::ptrdiff_t>(k * dimension), dimension,
                  report.finished.rows.begin() + static_cast<std::ptrdiff_t>(part[k] * dimension));
    }
  }
  return status;
}

BatchRunner::Part BatchRunner::StillWanted(BatchReport& report, Part part) {
  const absl::Time now = deps_.clock->TimeNow();
  Part wanted;
  for (const size_t i : part) {
    const EmbedTask& task = report.finished.tasks[i];
    if (task.dead()) {
      AnswerFailure(report, {i}, Answer::Cancelled());
    } else if (task.deadline <= now) {
      AnswerFailure(report, {i}, Answer::Expired("before the device was free"));
    } else {
      wanted.push_back(i);
    }
  }
  return wanted;
}

void BatchRunner::AnswerRows(BatchReport& report, const Part& part, const Attempt& attempt) {
  const size_t dimension = static_cast<size_t>(deps_.executor->dimension());
  int good = 0;
  for (const size_t i : part) {
    const absl::Span<const float> row =
        absl::MakeConstSpan(report.finished.rows).subspan(i * dimension, dimension);
    Answer& answer = report.finished.answers[i];
    if (RowIsGood(row)) {
      answer.outcome = Outcome::kOk;
      answer.row = row;
      ++good;
    } else {
      answer.outcome = Outcome::kFailed;
      answer.status =
          absl::InternalError("the model gave numbers that are not finite or a vector of length zero");
      answer.reason = Reason::kBadOutput;
    }
    answer.execute = attempt.took;
    answer.batch_id = attempt.id;
    answer.batch_size = attempt.images;
    deps_.metrics->ObserveStage(Stage::kQueue, answer.queue);
  }
  const bool all_good = good == attempt.images;
  Record(report, part, attempt, all_good ? "ok" : "bad_output");
  if (!all_good) {
    LogError("the model gave a bad vector", {{"batch", absl::StrCat(attempt.id)},
                                             {"images", absl::StrCat(attempt.images)},
                                             {"trace_ids", absl::StrJoin(TraceIds(report, part), ",")},
                                             {"bad", absl::StrCat(attempt.images - good)}});
  }
  deps_.metrics->ObserveBatch(report.tower, good, attempt.bucket - attempt.images);
  deps_.metrics->ObserveStage(Stage::kExecute, attempt.took);
}

void BatchRunner::AnswerFailure(BatchReport& report, const Part& part, const Answer& failure) {
  for (const size_t i : part) {
    Answer& answer = report.finished.answers[i];
    answer.outcome = failure.outcome;
    answer.status = failure.status;
    answer.reason = failure.reason;
  }
}

void BatchRunner::MakeRoom(bool drop_graphs) {
  DeviceMemory& memory = deps_.executor->memory();
  deps_.executor->Synchronize();
  if (drop_graphs) deps_.executor->DropCompiledGraphs();
  memory.Trim();
  deps_.board->Publish(memory.Read());
}

void BatchRunner::Record(const BatchReport& report, const Part& part, const Attempt& attempt,
                         std::string_view outcome) {
  BatchRecord record{.id = attempt.id,
                     .size = attempt.images,
                     .bucket = attempt.bucket,
                     .bytes = attempt.bytes,
                     .execute = attempt.took,
                     .outcome = outcome,
                     .device = deps_.device_metrics->device(),
                     .tower = report.tower,
                     .trace_ids = TraceIds(report, part)};
  std::set<const CallSink*> calls;
  for (const size_t i : part) {
    calls.insert(report.finished.tasks[i].call());
    record.decode = std::max(record.decode, report.finished.tasks[i].decode_took);
    record.queue = std::max(record.queue, report.finished.answers[i].queue);
  }
  record.requests = static_cast<int>(calls.size());
  deps_.ledger->Add(record);

  deps_.device_metrics->CountReleased(record.bytes.released());
  deps_.device_metrics->SetUnreleased(record.bytes.unreleased());
  leak_watch_.Add(record.bytes.after);
  if (record.bytes.unreleased() > 0) {
    LogError("a batch did not give all of its memory back",
             {{"batch", absl::StrCat(record.id)},
              {"device", record.device},
              {"bytes", absl::StrCat(record.bytes.unreleased())}});
  }
  if (leak_watch_.leaking() && !leak_reported_) {
    LogError("device memory grows batch by batch", {{"batch", absl::StrCat(record.id)},
                                                    {"device", record.device},
                                                    {"bytes_per_batch", absl::StrCat(leak_watch_.slope())}});
  }
  leak_reported_ = leak_watch_.leaking();
}

}  // namespace embedd
