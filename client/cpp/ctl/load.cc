// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/load.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "embedd/v1/embedding_service.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/proto_buffer_reader.h"

namespace embedd::ctl {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SteadyTime = SteadyClock::time_point;

// Open loop: beyond this the load generator itself would be what is measured.
constexpr size_t kMaxOutstanding = 8192;

struct Call {
  SteadyTime due;
  grpc::ClientContext context;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
  grpc::ByteBuffer answer;
  grpc::Status status;
};

// How long the server asked the caller to wait before it tries again, if it did.
std::optional<std::chrono::milliseconds> Pushback(const Call& call) {
  const auto& trailers = call.context.GetServerTrailingMetadata();
  const auto found = trailers.find("grpc-retry-pushback-ms");
  int64_t ms = 0;
  if (found == trailers.end() ||
      !absl::SimpleAtoi(absl::string_view(found->second.data(), found->second.size()), &ms)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(std::max<int64_t>(ms, 0));
}

class Load {
 public:
  Load(const LoadOptions& options, std::span<const grpc::ByteBuffer> requests,
       std::span<const std::shared_ptr<grpc::Channel>> channels)
      : options_(options), requests_(requests) {
    for (const auto& channel : channels) stubs_.push_back(std::make_unique<grpc::GenericStub>(channel));
    const auto now = SteadyClock::now();
    measured_ = now + absl::ToChronoNanoseconds(options.warmup);
    end_ = measured_ + absl::ToChronoNanoseconds(options.duration);
    next_due_ = now;
  }

  LoadResult Run() {
    const bool open_loop = options_.rate > 0;
    for (int i = 0; !open_loop && i < options_.callers; ++i) Start(SteadyClock::now());
    while (true) {
      if (open_loop) StartDue();
      StartWaiting();
      const std::optional<SteadyTime> next_start = NextStart();
      if (outstanding_ == 0 && !next_start) break;
      if (Call* call = NextAnswer(next_start)) Take(std::unique_ptr<Call>(call));
    }
    events_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (events_.Next(&tag, &ok)) {
    }
    Finish();
    return std::move(result_);
  }

 private:
  void StartDue() {
    for (const auto now = SteadyClock::now(); next_due_ <= now && next_due_ < end_;) {
      if (outstanding_ < kMaxOutstanding) {
        Start(next_due_);
      } else if (next_due_ >= measured_) {
        ++result_.not_sent;
      }
      const double uniform = (static_cast<double>(random_()) + 1) / 4294967297.0;  // (0, 1)
      next_due_ += std::chrono::nanoseconds(std::llround(-std::log(uniform) / options_.rate * 1e9));
    }
  }

  // Closed loop: the callers that have waited as long as they were asked to.
  void StartWaiting() {
    for (const auto now = SteadyClock::now(); !waiting_.empty() && *waiting_.begin() <= now;) {
      waiting_.erase(waiting_.begin());
      Start(now);
    }
    if (SteadyClock::now() >= end_) waiting_.clear();
  }

  std::optional<SteadyTime> NextStart() const {
    if (options_.rate > 0) return next_due_ < end_ ? std::optional(next_due_) : std::nullopt;
    return waiting_.empty() ? std::nullopt : std::optional(std::min(*waiting_.begin(), end_));
  }

  void Start(SteadyTime due) {
    auto call = std::make_unique<Call>();
    call->due = due;
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + options_.timeout));
    if (!options_.token.empty())
      call->context.AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
    call->reader = stubs_[sent_ % stubs_.size()]->PrepareUnaryCall(
        &call->context, "/embedd.v1.EmbeddingService/EmbedBatch", requests_[sent_ % requests_.size()],
        &events_);
    ++sent_;
    ++outstanding_;
    call->reader->StartCall();
    Call* raw = call.release();  // comes back as the tag of its answer
    raw->reader->Finish(&raw->answer, &raw->status, raw);
  }

  Call* NextAnswer(std::optional<SteadyTime> until) {
    void* tag = nullptr;
    bool ok = false;
    if (!until) return events_.Next(&tag, &ok) ? static_cast<Call*>(tag) : nullptr;
    const auto left = std::max(*until - SteadyClock::now(), SteadyClock::duration::zero());
    const auto deadline = absl::ToChronoTime(absl::Now() + absl::FromChrono(left));
    return events_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::GOT_EVENT
               ? static_cast<Call*>(tag)
               : nullptr;
  }

  void Take(std::unique_ptr<Call> call) {
    --outstanding_;
    const auto now = SteadyClock::now();
    v1::EmbedBatchResponse response;
    if (call->status.ok()) {
      grpc::ProtoBufferReader reader(&call->answer);
      if (!response.ParseFromZeroCopyStream(&reader)) {
        call->status = grpc::Status(grpc::StatusCode::INTERNAL, "the answer cannot be read");
      }
    }
    const auto pushback = Pushback(*call);
    Count(*call, response, now, pushback.has_value());
    if (options_.rate > 0 || now >= end_) return;
    if (pushback) {
      waiting_.insert(now + *pushback);
    } else {
      Start(now);
    }
  }

  void Count(const Call& call, const v1::EmbedBatchResponse& response, SteadyTime now, bool pushed_back) {
    const uint64_t inputs =
        response.dimension() == 0 ? 0 : response.data().size() / response.dimension() / Width(response);
    if (call.status.ok() && now >= measured_ && now < end_) {
      result_.images_in_time += inputs - static_cast<uint64_t>(response.errors_size());
    }
    if (call.due < measured_) return;
    ++result_.calls;
    if (!call.status.ok()) {
      ++result_.errors[absl::StatusCodeToString(static_cast<absl::StatusCode>(call.status.error_code()))];
      const bool refused = call.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
      if (refused && !pushed_back) ++result_.refused_without_pushback;
      return;
    }
    result_.latencies_ms.push_back(std::chrono::duration<double, std::milli>(now - call.due).count());
    result_.failed_inputs += static_cast<uint64_t>(response.errors_size());
    const auto& timing = response.timing();
    result_.decode_ms += static_cast<double>(timing.decode_ns()) / 1e6;
    result_.queue_ms += static_cast<double>(timing.queue_ns()) / 1e6;
    result_.execute_ms += static_cast<double>(timing.execute_ns()) / 1e6;
    result_.largest_batch = std::max(result_.largest_batch, timing.largest_batch());
  }

  static uint64_t Width(const v1::EmbedBatchResponse& response) {
    return response.encoding() == v1::ENCODING_FLOAT16 ? 2 : 4;
  }

  void Finish() {
    std::sort(result_.latencies_ms.begin(), result_.latencies_ms.end());
    const double ok = std::max<double>(1, static_cast<double>(result_.latencies_ms.size()));
    for (double* mean : {&result_.decode_ms, &result_.queue_ms, &result_.execute_ms}) *mean /= ok;
  }

  const LoadOptions& options_;
  const std::span<const grpc::ByteBuffer> requests_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  SteadyTime measured_, end_, next_due_;
  std::mt19937 random_{1};
  size_t sent_ = 0;
  size_t outstanding_ = 0;
  std::multiset<SteadyTime> waiting_;  // closed loop: when callers that were refused may try again
  LoadResult result_;
  grpc::CompletionQueue events_;
};

}  // namespace

LoadResult PutLoad(const LoadOptions& options, std::span<const grpc::ByteBuffer> requests,
                   std::span<const std::shared_ptr<grpc::Channel>> channels) {
  return Load(options, requests, channels).Run();
}

double Percentile(std::span<const double> ascending, double q) {
  if (ascending.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(ascending.size())));
  return ascending[std::clamp<size_t>(rank, 1, ascending.size()) - 1];
}

}  // namespace embedd::ctl
