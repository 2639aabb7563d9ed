// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/load.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <utility>

#include "absl/status/status.h"
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
      const bool more = open_loop && next_due_ < end_;
      if (outstanding_ == 0 && !more) break;
      if (Call* call = NextAnswer(more ? std::optional(next_due_) : std::nullopt))
        Take(std::unique_ptr<Call>(call));
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
    Count(*call, response, now);
    if (options_.rate <= 0 && now < end_) Start(now);
  }

  void Count(const Call& call, const v1::EmbedBatchResponse& response, SteadyTime now) {
    const uint64_t inputs =
        response.dimension() == 0 ? 0 : response.data().size() / response.dimension() / Width(response);
    if (call.status.ok() && now >= measured_ && now < end_) {
      result_.images_in_time += inputs - static_cast<uint64_t>(response.errors_size());
    }
    if (call.due < measured_) return;
    ++result_.calls;
    if (!call.status.ok()) {
      ++result_.errors[absl::StatusCodeToString(static_cast<absl::StatusCode>(call.status.error_code()))];
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
