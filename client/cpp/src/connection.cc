// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/connection.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/info.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/status.h"

namespace embedd::client::internal {
namespace {

absl::Status Check(const Options& options) {
  const auto bad = [](const char* message) { return absl::InvalidArgumentError(message); };
  if (options.target.empty()) return bad("target is empty; give HOST:PORT or unix:/path/to/socket");
  if (options.timeout <= absl::ZeroDuration()) return bad("timeout must be above zero");
  if (options.retry_for < absl::ZeroDuration()) return bad("retry_for must not be negative");
  if (options.max_in_flight < 1) return bad("max_in_flight must be at least 1");
  if (options.max_request_bytes < 1) return bad("max_request_bytes must be at least 1");
  if (options.max_request_images < 1) return bad("max_request_images must be at least 1");
  // gRPC ends the process over a header that HTTP/2 does not allow.
  const bool printable =
      std::all_of(options.token.begin(), options.token.end(), [](char c) { return c > ' ' && c < 127; });
  if (!printable) return bad("the token holds a space, a line end or a character outside ASCII");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::Create(Options options) {
  if (auto status = Check(options); !status.ok()) return status;
  auto channel = MakeChannel(options);
  if (!channel.ok()) return channel.status();
  return std::unique_ptr<Connection>(new Connection(std::move(options), *std::move(channel)));
}

Connection::Connection(Options options, std::shared_ptr<grpc::Channel> channel)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      stub_(v1::EmbeddingService::NewStub(channel_)) {}

std::unique_ptr<grpc::ClientContext> Connection::NewContext(absl::Time deadline) const {
  auto context = std::make_unique<grpc::ClientContext>();
  if (deadline != absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
  if (!options_.token.empty()) context->AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
  return context;
}

absl::StatusOr<ServerInfo> Connection::FetchInfo(absl::Time deadline) const {
  const auto context = NewContext(deadline);
  v1::GetServerInfoResponse response;
  const auto status = stub_->GetServerInfo(context.get(), {}, &response);
  if (!status.ok()) return FailureOf(status, context->GetServerTrailingMetadata(), options_.target).status;
  return FromProto(response);
}

absl::StatusOr<ServerInfo> Connection::KnownInfo(absl::Time deadline) const {
  {
    MutexLock lock(&mu_);
    if (info_) return *info_;
  }
  Retry retry({.retry_for = options_.retry_for, .deadline = deadline});
  while (true) {
    const absl::Time sent = absl::Now();
    auto info = FetchInfo(AttemptDeadline(options_, deadline));
    if (info.ok()) {
      ReportAnswer(sent);
      MutexLock lock(&mu_);
      // Limits hold as long as the server's flags; the rest may still be unknown while it loads.
      if (info->model.dimension > 0) info_ = *info;
      return info;
    }
    const auto wait = retry.WaitAfter({.status = info.status()}, absl::Now(), Chance());
    if (!wait) return info.status();
    ReportRefusal(info.status());
    absl::SleepFor(*wait);
  }
}

void Connection::ReportRefusal(const absl::Status& status) const {
  // A full queue is an answer: the server is there.
  int64_t none = 0;
  if (!OutOfReach(status) || !out_of_reach_.compare_exchange_strong(none, absl::GetCurrentTimeNanos()))
    return;
  if (!options_.on_outage) return;
  // A server of ours says why it refuses; else what gRPC says comes with the error, if it comes to that.
  const std::string why = ErrorReason(status).empty() ? absl::StrCat("cannot reach ", options_.target)
                                                      : std::string(status.message());
  options_.on_outage(
      absl::StrCat(why, "; trying again for up to ", absl::FormatDuration(options_.retry_for)));
}

void Connection::ReportAnswer(absl::Time sent) const {
  int64_t since = out_of_reach_.load();
  if (since == 0 || absl::ToUnixNanos(sent) < since || !out_of_reach_.compare_exchange_strong(since, 0))
    return;
  if (options_.on_outage) options_.on_outage(absl::StrCat(options_.target, " answers again"));
}

absl::Time AttemptDeadline(const Options& options, absl::Time call_deadline) {
  return std::min(absl::Now() + options.timeout, call_deadline);
}

double Chance() {
  thread_local std::minstd_rand generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace embedd::client::internal
