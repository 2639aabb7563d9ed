// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/connection.h"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/diagnose.h"
#include "client/cpp/src/info.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/status.h"

namespace embedd::client::internal {
namespace {

// Longest that a call waits to hear what a server is, where there are others.
constexpr absl::Duration kIntroduction = absl::Seconds(3);

absl::Status Check(const Options& options) {
  const auto bad = [](const char* message) { return absl::InvalidArgumentError(message); };
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
  auto targets = TargetsOf(options);
  if (!targets.ok()) return targets.status();
  std::vector<Place> places;
  for (Target& target : *targets) {
    auto channel = MakeChannel(options, target);
    if (!channel.ok()) return channel.status();
    auto stub = v1::EmbeddingService::NewStub(*channel);
    auto health = grpc::health::v1::Health::NewStub(*channel);
    places.push_back({std::move(target), *std::move(channel), std::move(stub), std::move(health)});
  }
  return std::unique_ptr<Connection>(new Connection(std::move(options), std::move(places)));
}

Connection::Connection(Options options, std::vector<Place> places)
    : options_(std::move(options)), places_(std::move(places)), replicas_([this] {
        std::vector<int> servers;
        for (const Place& place : places_) servers.push_back(place.target.servers);
        return servers;
      }()) {
  for (size_t i = 0; i < places_.size(); ++i) {
    if (Balanced(places_[i].target)) replicas_.NoHealth(i);  // gRPC asks each address behind it
  }
}

std::unique_ptr<grpc::ClientContext> Connection::NewContext(absl::Time deadline) const {
  auto context = std::make_unique<grpc::ClientContext>();
  if (deadline != absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
  if (!options_.token.empty()) context->AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
  return context;
}

absl::StatusOr<ServerInfo> Connection::FetchInfo(size_t replica, absl::Time deadline) const {
  const auto context = NewContext(deadline);
  v1::GetServerInfoResponse response;
  const absl::Time sent = absl::Now();
  replicas_.BeginAt(replica, {}, sent);
  const auto status = stub(replica).GetServerInfo(context.get(), {}, &response);
  if (!status.ok()) {
    const auto failure = FailureOf(status, context->GetServerTrailingMetadata(), target(replica));
    replicas_.Failed(replica, {}, failure, absl::Now(), Chance());
    return failure.status;
  }
  if (replicas_.Answered(replica, {}, sent, absl::Now())) ReportReturn(replica);
  ServerInfo info = FromProto(response);
  replicas_.HealthTold(replica, info.state == "READY" || info.state == "OFFLOADED");
  // Limits hold as long as the server's flags; while it loads, the rest is still unknown.
  if (info.model.dimension > 0) replicas_.Learn(replica, info.limits);
  return info;
}

std::vector<absl::StatusOr<ServerInfo>> Connection::FetchAll(absl::Time deadline) const {
  std::vector<absl::StatusOr<ServerInfo>> infos(places_.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < places_.size(); ++i) {
    threads.emplace_back([&, i] { infos[i] = FetchInfo(i, deadline); });
  }
  infos[0] = FetchInfo(0, deadline);
  for (auto& thread : threads) thread.join();
  return infos;
}

absl::StatusOr<ServerInfo> Connection::AskAll(absl::Time deadline) const {
  const absl::Duration wait = places_.size() == 1 ? absl::InfiniteDuration() : kIntroduction;
  const auto infos = FetchAll(std::min(AttemptDeadline(options_, deadline), absl::Now() + wait));
  const auto found = std::find_if(infos.begin(), infos.end(), [](const auto& info) { return info.ok(); });
  if (found == infos.end()) return infos[0];
  for (size_t i = 0; i < infos.size(); ++i) {
    if (!infos[i].ok()) ReportRefusal(i, infos[i].status());
  }
  return *found;
}

absl::StatusOr<ServerInfo> Connection::KnownInfo(absl::Time deadline) const {
  {
    MutexLock lock(&mu_);
    if (info_) {
      ServerInfo info = *info_;
      info.limits = replicas_.Shared().value_or(info.limits);
      return info;
    }
  }
  Retry retry({.retry_for = options_.retry_for, .deadline = deadline});
  while (true) {
    auto info = AskAll(deadline);
    if (info.ok()) {
      info->limits = replicas_.Shared().value_or(info->limits);
      MutexLock lock(&mu_);
      if (info->model.dimension > 0) info_ = *info;
      return info;
    }
    const auto wait = retry.WaitAfter({.status = info.status()}, absl::Now(), Chance());
    if (!wait) return Explained(0, info.status());
    ReportRefusal(0, info.status());
    absl::SleepFor(*wait);
  }
}

void Connection::ReportRefusal(size_t replica, const absl::Status& status) const {
  // A full queue is an answer: the server is there.
  if (!OutOfReach(status) || !replicas_.TellOutage(replica) || !options_.on_outage) return;
  // A server of ours says why it refuses; else what gRPC says comes with the error, if it comes to that.
  const std::string& name = target(replica).name;
  const std::string why = ErrorReason(status).empty() ? absl::StrCat("cannot reach ", name)
                                                      : absl::StrCat(name, ": ", status.message());
  options_.on_outage(absl::StrCat(why, places_.size() > 1 ? "; going on with the other servers, and" : ";",
                                  " trying again for up to ", absl::FormatDuration(options_.retry_for)));
}

void Connection::ReportReturn(size_t replica) const {
  if (options_.on_outage) options_.on_outage(absl::StrCat(target(replica).name, " answers again"));
}

absl::Status Connection::BrokenProxy(size_t replica) const {
  const std::string& name = target(replica).name;
  bool told;
  {
    MutexLock lock(&mu_);
    told = std::exchange(proxy_told_, true);
  }
  if (!told && options_.on_outage) {
    options_.on_outage(
        absl::StrCat(name,
                     " answered before and now says UNIMPLEMENTED: a proxy on the way sent an empty "
                     "call. Switch its retries off, or give it room for whole requests"));
  }
  return absl::UnavailableError(absl::StrCat("a proxy on the way to ", name, " sent an empty call"));
}

absl::Status Connection::Explained(size_t replica, const absl::Status& status) const {
  const Target& place = target(replica);
  if (!absl::IsUnavailable(status) || !ErrorReason(status).empty() || !ProxyVariable(place).empty())
    return status;
  const std::string found = DiagnoseTls(place, UsesTls(options_, place));
  return found.empty() ? status
                       : absl::UnavailableError(absl::StrCat("cannot reach ", place.name, ": ", found));
}

absl::Time AttemptDeadline(const Options& options, absl::Time call_deadline) {
  return std::min(absl::Now() + options.timeout, call_deadline);
}

double Chance() {
  thread_local std::minstd_rand generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace embedd::client::internal
