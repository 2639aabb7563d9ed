// SPDX-License-Identifier: Apache-2.0

#include "server/reply/pending_call.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/metric_value.h"

namespace embedd {
namespace {

struct Fixture {
  Metrics metrics;
  std::vector<CallResult> results;

  std::shared_ptr<PendingCall> Make(uint32_t inputs, RowEncoding encoding = RowEncoding::kFloat32,
                                    bool normalize = false) {
    return std::make_shared<PendingCall>(
        PendingCall::Options{.inputs = inputs, .dimension = 2, .encoding = encoding, .normalize = normalize},
        &metrics, [this](CallResult result) { results.push_back(std::move(result)); });
  }
};

Answer Row(const std::vector<float>& row) {
  Answer answer;
  answer.outcome = Outcome::kOk;
  answer.row = row;
  return answer;
}

Answer Bad(Outcome outcome, absl::Status status, Reason reason) {
  return Answer::Failure(outcome, std::move(status), reason);
}

std::vector<float> Floats(const std::string& data) {
  std::vector<float> floats(data.size() / 4);
  if (!floats.empty()) std::memcpy(floats.data(), data.data(), data.size());
  return floats;
}

TEST_CASE("A call ends when its last input is answered, with the rows in the order of the inputs") {
  Fixture f;
  auto call = f.Make(3);
  const std::vector<float> a = {1, 2}, b = {3, 4}, c = {5, 6};
  call->OnAnswer(2, Row(c));
  call->OnAnswer(0, Row(a));
  CHECK(f.results.empty());
  call->OnAnswer(1, Row(b));
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status.ok());
  CHECK(f.results[0].failures.empty());
  CHECK(Floats(f.results[0].data) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("A call without a single vector ends well, with a row of zeros for each input") {
  Fixture f;
  auto call = f.Make(2);
  for (const uint32_t i : {0u, 1u}) {
    call->OnAnswer(i, Bad(Outcome::kRejected, absl::InvalidArgumentError("bad"), Reason::kCorruptImage));
  }
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status.ok());
  CHECK(Floats(f.results[0].data) == std::vector<float>{0, 0, 0, 0});
}

TEST_CASE("Rows are written in the encoding and the length asked for") {
  Fixture f;
  const std::vector<float> row = {3, 4};
  f.Make(1, RowEncoding::kFloat32, true)->OnAnswer(0, Row(row));
  CHECK(Floats(f.results[0].data) == std::vector<float>{0.6f, 0.8f});
  f.Make(1, RowEncoding::kFloat16, false)->OnAnswer(0, Row(row));
  CHECK(f.results[1].data == std::string("\x00\x42\x00\x44", 4));
}

TEST_CASE("A bad input fails alone: its row is zero, and it is listed with its index") {
  const auto [outcome, code, reason] = GENERATE(table<Outcome, absl::StatusCode, Reason>(
      {{Outcome::kRejected, absl::StatusCode::kInvalidArgument, Reason::kCorruptImage},
       {Outcome::kFailed, absl::StatusCode::kResourceExhausted, Reason::kDeviceMemory},
       {Outcome::kFailed, absl::StatusCode::kInternal, Reason::kBadOutput}}));
  Fixture f;
  auto call = f.Make(3);
  const std::vector<float> row = {1, 2};
  call->OnAnswer(2, Bad(outcome, absl::Status(code, "x"), reason));
  call->OnAnswer(1, Bad(outcome, absl::Status(code, "y"), reason));
  CHECK_FALSE(call->dead());
  call->OnAnswer(0, Row(row));
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status.ok());
  CHECK(Floats(f.results[0].data) == std::vector<float>{1, 2, 0, 0, 0, 0});
  REQUIRE(f.results[0].failures.size() == 2);
  CHECK(f.results[0].failures[0].index == 1);
  CHECK(f.results[0].failures[0].status.code() == code);
  CHECK(f.results[0].failures[0].reason == reason);
  CHECK(f.results[0].failures[1].index == 2);
}

TEST_CASE("What concerns the whole call fails it at once, and its other images need not run") {
  const auto [outcome, code, reason] = GENERATE(table<Outcome, absl::StatusCode, Reason>(
      {{Outcome::kExpired, absl::StatusCode::kDeadlineExceeded, Reason::kDeadline},
       {Outcome::kRefused, absl::StatusCode::kUnavailable, Reason::kDraining},
       {Outcome::kCancelled, absl::StatusCode::kCancelled, Reason::kCancelled},
       {Outcome::kFailed, absl::StatusCode::kUnavailable, Reason::kDeviceFailed},
       {Outcome::kFailed, absl::StatusCode::kInternal, Reason::kInternalError}}));
  Fixture f;
  auto call = f.Make(3);
  call->OnAnswer(1, Bad(outcome, absl::Status(code, "why"), reason));
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status == absl::Status(code, "why"));
  CHECK(f.results[0].reason == reason);
  CHECK(f.results[0].data.empty());
  CHECK(call->dead());
  const std::vector<float> row = {1, 2};
  call->OnAnswer(0, Row(row));  // was on the device already
  call->OnAnswer(2, Bad(Outcome::kExpired, absl::DeadlineExceededError(""), Reason::kDeadline));
  CHECK(f.results.size() == 1);
}

TEST_CASE("A caller that goes away ends the call once") {
  Fixture f;
  auto call = f.Make(2);
  call->Cancel();
  CHECK(call->dead());
  REQUIRE(f.results.size() == 1);
  CHECK(absl::IsCancelled(f.results[0].status));
  call->Cancel();
  const std::vector<float> row = {1, 2};
  call->OnAnswer(0, Row(row));
  call->OnAnswer(1, Row(row));
  CHECK(f.results.size() == 1);
}

TEST_CASE(
    "A call that is failed from outside ends at once with that reason, and late answers change nothing") {
  Fixture f;
  auto call = f.Make(2);
  const std::vector<float> row = {1, 2};
  call->OnAnswer(0, Row(row));
  call->Fail(absl::UnavailableError("the device hangs"), Reason::kDeviceFailed);
  CHECK(call->dead());
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status == absl::UnavailableError("the device hangs"));
  CHECK(f.results[0].reason == Reason::kDeviceFailed);
  CHECK(f.results[0].data.empty());
  call->OnAnswer(1, Row(row));  // the device came back after all
  CHECK(f.results.size() == 1);
}

TEST_CASE("Cancelling a call that has ended changes nothing") {
  Fixture f;
  auto call = f.Make(1);
  const std::vector<float> row = {1, 2};
  call->OnAnswer(0, Row(row));
  call->Cancel();
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status.ok());
}

TEST_CASE("Every input is counted once in images_total, also those answered after the end") {
  Fixture f;
  auto call = f.Make(4);
  const std::vector<float> row = {1, 2};
  call->OnAnswer(0, Row(row));
  call->OnAnswer(1, Bad(Outcome::kRejected, absl::InvalidArgumentError(""), Reason::kCorruptImage));
  call->Cancel();
  call->OnAnswer(2, Row(row));
  call->OnAnswer(3, Bad(Outcome::kCancelled, absl::CancelledError(""), Reason::kCancelled));
  CHECK(ImagesTotal(f.metrics, Outcome::kOk) == 2);
  CHECK(ImagesTotal(f.metrics, Outcome::kRejected) == 1);
  CHECK(ImagesTotal(f.metrics, Outcome::kCancelled) == 1);
}

TEST_CASE("A vector that cannot be written is BAD_OUTPUT, its row zero, and counted as failed") {
  Fixture f;
  const std::vector<float> row = {1, 70000};
  f.Make(1, RowEncoding::kFloat16)->OnAnswer(0, Row(row));
  REQUIRE(f.results.size() == 1);
  CHECK(f.results[0].status.ok());
  CHECK(f.results[0].data == std::string(4, '\0'));
  REQUIRE(f.results[0].failures.size() == 1);
  CHECK(f.results[0].failures[0].reason == Reason::kBadOutput);
  CHECK(absl::IsInternal(f.results[0].failures[0].status));
  CHECK(ImagesTotal(f.metrics, Outcome::kFailed) == 1);
  CHECK(ImagesTotal(f.metrics, Outcome::kOk) == 0);
}

TEST_CASE("Timing tells the longest of any input, the fullest batch, and how many batches it rode in") {
  Fixture f;
  auto call = f.Make(3);
  const std::vector<float> row = {1, 2};
  for (uint32_t i = 0; i < 3; ++i) {
    Answer answer = Row(row);
    answer.decode = absl::Milliseconds(i == 0 ? 9 : 1);
    answer.queue = absl::Milliseconds(i == 1 ? 8 : 1);
    answer.execute = absl::Milliseconds(i == 2 ? 7 : 1);
    answer.batch_id = i == 0 ? 4 : 5;
    answer.batch_size = i == 0 ? 30 : 2;
    call->OnAnswer(i, std::move(answer));
  }
  const CallTiming& timing = f.results[0].timing;
  CHECK(timing.decode == absl::Milliseconds(9));
  CHECK(timing.queue == absl::Milliseconds(8));
  CHECK(timing.execute == absl::Milliseconds(7));
  CHECK(timing.largest_batch == 30);
  CHECK(timing.batches == 2);
}

TEST_CASE("Answered from many threads, a call ends once, and never well when an input failed it") {
  for (int round = 0; round < 200; ++round) {
    Metrics metrics;
    std::atomic<int> ended{0}, well{0};
    std::vector<float> got;
    const bool one_fails = round % 2 == 0;
    auto call =
        std::make_shared<PendingCall>(PendingCall::Options{.inputs = 4, .dimension = 2, .normalize = false},
                                      &metrics, [&](CallResult result) {
                                        ++ended;
                                        well += result.status.ok();
                                        got = Floats(result.data);
                                      });
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const std::vector<float> row = {static_cast<float>(i), static_cast<float>(i)};
        if (one_fails && i == 1) {
          call->OnAnswer(i, Bad(Outcome::kExpired, absl::DeadlineExceededError(""), Reason::kDeadline));
        } else {
          call->OnAnswer(i, Row(row));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(ended == 1);
    REQUIRE(well == (one_fails ? 0 : 1));
    if (!one_fails) REQUIRE(got == std::vector<float>{0, 0, 1, 1, 2, 2, 3, 3});
  }
}

TEST_CASE("An answer that comes last cannot end well a call that another input is just failing") {
  Metrics metrics;
  constexpr int kRounds = 5'000;
  std::vector<std::shared_ptr<PendingCall>> calls;
  std::atomic<int> well{0}, ended{0};
  for (int round = 0; round < kRounds; ++round) {
    calls.push_back(std::make_shared<PendingCall>(PendingCall::Options{.inputs = 2, .dimension = 2}, &metrics,
                                                  [&](CallResult result) {
                                                    ++ended;
                                                    well += result.status.ok();
                                                  }));
  }
  // Two threads in step: each waits until the other has come to the same round.
  std::atomic<int> arrived{0};
  const auto play = [&](uint32_t index, bool fails) {
    const std::vector<float> row = {1, 2};
    for (int round = 0; round < kRounds; ++round) {
      ++arrived;
      while (arrived.load() < 2 * (round + 1)) std::this_thread::yield();
      if (!fails && round % 2 == 1) std::this_thread::yield();
      calls[static_cast<size_t>(round)]->OnAnswer(
          index,
          fails ? Bad(Outcome::kExpired, absl::DeadlineExceededError(""), Reason::kDeadline) : Row(row));
    }
  };
  std::thread failing(play, 0, true);
  play(1, false);
  failing.join();
  CHECK(ended == kRounds);
  CHECK(well == 0);
}

}  // namespace
}  // namespace embedd
