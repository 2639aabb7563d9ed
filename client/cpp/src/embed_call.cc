// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/embed_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/rows.h"
#include "client/cpp/src/status.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/async_unary_call.h"

namespace embedd::client::internal {

struct EmbedCall::Request {
  explicit Request(const Retry::Options& options) : retry(options) {}

  v1::EmbedBatchRequest message;
  std::vector<size_t> positions;  // in the call, of the inputs of the message
  Retry retry;
  RequestTiming timing;

  // The attempt under way, or the wait before the next one.
  bool waiting = false;
  size_t replica = 0;
  size_t largest_file = 0;
  grpc::Alarm alarm;
  absl::Time sent;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::EmbedBatchResponse>> reader;
  v1::EmbedBatchResponse answer;
  grpc::Status status;
};

// What a server says of its health.
struct EmbedCall::Question {
  size_t replica = 0;
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse answer;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::health::v1::HealthCheckResponse>> reader;
};

namespace {

// Of all servers together: bounds memory.
constexpr size_t kMaxInFlight = 256;
// Longest that a call waits to hear what a server is that came back.
constexpr absl::Duration kIntroduction = absl::Seconds(3);
constexpr absl::Duration kHealthTimeout = absl::Seconds(3);

void SetTiming(const v1::Timing& from, RequestTiming* to) {
  to->decode = absl::Nanoseconds(from.decode_ns());
  to->queue = absl::Nanoseconds(from.queue_ns());
  to->execute = absl::Nanoseconds(from.execute_ns());
  to->server_total = absl::Nanoseconds(from.total_ns());
  to->largest_batch = from.largest_batch();
  to->batches = from.batches();
}

}  // namespace

EmbedCall::EmbedCall(const Connection& connection, const Source& source, const EmbedOptions& options)
    : connection_(connection), source_(source), options_(options) {}

EmbedCall::~EmbedCall() {
  for (const auto& question : questions_) question->context.TryCancel();
  events_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (events_.Next(&tag, &ok)) {
  }
}

absl::StatusOr<EmbedResult> EmbedCall::Run(std::span<const Part> parts, size_t inputs) {
  inputs_ = inputs;
  const size_t in_flight = std::min(kMaxInFlight, static_cast<size_t>(connection_.options().max_in_flight) *
                                                      static_cast<size_t>(connection_.replicas().servers()));
  size_t next = 0;
  while (true) {
    while (status_.ok() && next < parts.size() && active_.size() < in_flight) {
      Start(parts[next++]);
    }
    if (active_.empty()) break;
    void* tag = nullptr;
    bool ok = false;
    if (!events_.Next(&tag, &ok)) break;
    if (HeardHealth(tag)) continue;
    auto* request = static_cast<Request*>(tag);
    if (!request->waiting) {
      OnAnswer(request);
    } else if (status_.ok()) {
      Send(request);
    } else {
      Remove(request);
    }
  }
  if (!status_.ok()) return status_;
  std::sort(result_.errors.begin(), result_.errors.end(),
            [](const InputError& a, const InputError& b) { return a.index < b.index; });
  std::sort(result_.requests.begin(), result_.requests.end(),
            [](const RequestTiming& a, const RequestTiming& b) { return a.first_input < b.first_input; });
  return std::move(result_);
}

void EmbedCall::Start(const Part& part) {
  const absl::Time begin = absl::Now();
  auto request = std::make_unique<Request>(
      Retry::Options{.retry_for = connection_.options().retry_for, .deadline = options_.deadline});
  for (size_t i = part.first; i < part.first + part.count; ++i) {
    v1::Input input;
    if (auto error = source_.Fill(i, &input)) {
      result_.errors.push_back(*std::move(error));
    } else {
      request->largest_file = std::max(request->largest_file, input.image().size());
      *request->message.add_inputs() = std::move(input);
      request->positions.push_back(i);
    }
  }
  if (request->positions.empty()) return;
  request->message.set_encoding(options_.float16 ? v1::ENCODING_FLOAT16 : v1::ENCODING_FLOAT32);
  request->message.set_normalize(options_.normalize);
  request->message.set_priority(options_.bulk ? v1::PRIORITY_BULK : v1::PRIORITY_INTERACTIVE);
  request->timing.first_input = request->positions.front();
  request->timing.inputs = request->positions.size();
  request->timing.request_bytes = request->message.ByteSizeLong();
  request->timing.prepare = absl::Now() - begin;
  active_.push_back(std::move(request));
  Send(active_.back().get());
}

Load EmbedCall::LoadOf(const Request& request) const {
  return {.inputs = request.positions.size(),
          .bytes = request.timing.request_bytes,
          .largest_file = request.largest_file};
}

void EmbedCall::Send(Request* request) {
  request->waiting = false;
  auto& replicas = connection_.replicas();
  const Load load = LoadOf(*request);
  const auto replica = replicas.Begin(load, absl::Now());
  if (!replica) return TooLarge(request);
  request->replica = *replica;
  ++request->timing.attempts;
  const absl::Time deadline = AttemptDeadline(connection_.options(), options_.deadline);
  // A server that came back, or that nobody could ask yet, is asked first what it is.
  if (!replicas.Known(*replica)) {
    const auto info = connection_.FetchInfo(*replica, std::min(deadline, absl::Now() + kIntroduction));
    if (!info.ok()) return Refused(request, {.status = info.status()});
    replicas.Left(*replica, load, absl::Now());
    const auto again = replicas.Begin(load, absl::Now());
    if (!again) return TooLarge(request);
    request->replica = *again;
  }
  // Once rows of a model are here, no other model may answer: the server refuses before it computes.
  request->message.set_expect_fingerprint(result_.fingerprint.empty() ? options_.expect_fingerprint
                                                                      : result_.fingerprint);
  request->answer.Clear();
  request->sent = absl::Now();
  request->reader.reset();  // lives in the memory of its context
  request->context = connection_.NewContext(deadline);
  request->reader =
      connection_.stub(request->replica).AsyncEmbedBatch(request->context.get(), request->message, &events_);
  request->reader->Finish(&request->answer, &request->status, request);
  AskHealth();
}

void EmbedCall::AskHealth() {
  for (const size_t replica : connection_.replicas().HealthDue(absl::Now())) {
    auto question = std::make_unique<Question>();
    question->replica = replica;
    question->context.set_deadline(absl::ToChronoTime(absl::Now() + kHealthTimeout));
    question->reader = connection_.health(replica).AsyncCheck(&question->context, {}, &events_);
    question->reader->Finish(&question->answer, &question->status, question.get());
    questions_.push_back(std::move(question));
  }
}

bool EmbedCall::HeardHealth(void* tag) {
  const auto heard = std::find_if(questions_.begin(), questions_.end(),
                                  [tag](const auto& question) { return question.get() == tag; });
  if (heard == questions_.end()) return false;
  const Question& question = **heard;
  auto& replicas = connection_.replicas();
  if (question.status.ok()) {
    replicas.HealthTold(question.replica,
                        question.answer.status() == grpc::health::v1::HealthCheckResponse::SERVING);
  } else if (question.status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    replicas.NoHealth(question.replica);
  }  // else no news: the calls themselves tell
  questions_.erase(heard);
  return true;
}

void EmbedCall::OnAnswer(Request* request) {
  auto& replicas = connection_.replicas();
  const size_t replica = request->replica;
  const std::string& target = connection_.target(replica).name;
  if (!status_.ok()) {
    replicas.Left(replica, LoadOf(*request), absl::Now());
    return Remove(request);
  }
  if (!request->status.ok()) {
    auto failure = FailureOf(request->status, request->context->GetServerTrailingMetadata(),
                             connection_.target(replica));
    if (absl::IsUnimplemented(failure.status) && replicas.AnsweredBefore(replica)) {
      failure.status = connection_.BrokenProxy(replica);
    }
    return Refused(request, std::move(failure));
  }
  if (replicas.Answered(replica, LoadOf(*request), request->sent, absl::Now()))
    connection_.ReportReturn(replica);
  request->timing.round_trip = absl::Now() - request->sent;
  SetTiming(request->answer.timing(), &request->timing);
  if (first_target_.empty()) first_target_ = target;
  auto status = PlaceAnswer(request->answer, request->positions, inputs_, first_target_, target, &result_);
  result_.requests.push_back(request->timing);
  Remove(request);
  if (!status.ok()) Fail(std::move(status));
}

void EmbedCall::Refused(Request* request, Failure failure) {
  const size_t replica = request->replica;
  const auto now = absl::Now();
  const double chance = Chance();
  const auto elsewhere = connection_.replicas().Failed(replica, LoadOf(*request), failure, now, chance);
  const auto wait = request->retry.WaitAfter(failure, now, chance, elsewhere);
  if (!wait) {
    Remove(request);
    const std::string& target = connection_.target(replica).name;
    if (ErrorReason(failure.status) == "MODEL_MISMATCH" && !first_target_.empty() &&
        first_target_ != target) {
      return Fail(TwoModels(first_target_, result_.fingerprint, target,
                            "another: " + std::string(failure.status.message())));
    }
    return Fail(connection_.Explained(replica, failure.status));
  }
  connection_.ReportRefusal(replica, failure.status);
  request->waiting = true;
  request->alarm.Set(&events_, absl::ToChronoTime(now + *wait), request);
}

void EmbedCall::TooLarge(Request* request) {
  const size_t bytes = request->timing.request_bytes, inputs = request->positions.size();
  Remove(request);
  Fail(absl::InvalidArgumentError(
      absl::StrCat("no server takes a request of ", inputs, " inputs and ", bytes,
                   " bytes any more; call again, or set max_request_images lower")));
}

void EmbedCall::Fail(absl::Status status) {
  status_ = std::move(status);
  for (auto& request : active_) {
    if (request->context) request->context->TryCancel();
    request->alarm.Cancel();
  }
}

void EmbedCall::Remove(Request* request) {
  std::erase_if(active_, [request](const auto& other) { return other.get() == request; });
}

}  // namespace embedd::client::internal
