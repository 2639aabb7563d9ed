// SPDX-License-Identifier: Apache-2.0
//
// What all calls of one Client share: a channel to each replica, what is known of them, and which are out of
// reach at the moment. Thread-safe.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/src/replicas.h"
#include "client/cpp/src/status.h"
#include "client/cpp/src/target.h"
#include "embedd/client.h"
#include "embedd/v1/embedding_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "server/support/mutex.h"

namespace embedd::client::internal {

class Connection {
 public:
  // Errors as Client::Create.
  static absl::StatusOr<std::unique_ptr<Connection>> Create(Options options);

  const Options& options() const { return options_; }
  Replicas& replicas() const { return replicas_; }
  const Target& target(size_t replica) const { return places_[replica].target; }
  v1::EmbeddingService::Stub& stub(size_t replica) const { return *places_[replica].stub; }
  grpc::health::v1::Health::Stub& health(size_t replica) const { return *places_[replica].health; }

  // A context of one attempt: its deadline, and the token where there is one.
  std::unique_ptr<grpc::ClientContext> NewContext(absl::Time deadline) const;

  // Asks one server, once.
  absl::StatusOr<ServerInfo> FetchInfo(size_t replica, absl::Time deadline) const;
  // Asks all of them at once.
  std::vector<absl::StatusOr<ServerInfo>> FetchAll(absl::Time deadline) const;
  // What the servers said when they were first asked; asks as often as `options().retry_for` allows when none
  // was. Limits are what all of them take.
  absl::StatusOr<ServerInfo> KnownInfo(absl::Time deadline) const;

  // Tells `on_outage`, once per outage of a replica, that it is out of reach, or that it is back.
  void ReportRefusal(size_t replica, const absl::Status& status) const;
  void ReportReturn(size_t replica) const;

  // What a call gets whose server answered before and now does not know the method: a proxy on the way tried
  // it again after its body had gone by. Tells `on_outage` once.
  absl::Status BrokenProxy(size_t replica) const;

  // A failure for good, with the reason that matters where gRPC did not see it.
  absl::Status Explained(size_t replica, const absl::Status& status) const;

 private:
  struct Place {
    Target target;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::EmbeddingService::Stub> stub;
    std::unique_ptr<grpc::health::v1::Health::Stub> health;
  };

  Connection(Options options, std::vector<Place> places);
  // The first to answer of those that are asked; what it said.
  absl::StatusOr<ServerInfo> AskAll(absl::Time deadline) const;

  const Options options_;
  const std::vector<Place> places_;
  mutable Replicas replicas_;
  mutable Mutex mu_;
  mutable bool proxy_told_ ABSL_GUARDED_BY(mu_) = false;
  mutable std::optional<ServerInfo> info_ ABSL_GUARDED_BY(mu_);
};

// The end of an attempt that starts now.
absl::Time AttemptDeadline(const Options& options, absl::Time call_deadline);

// A number in [0, 1).
double Chance();

}  // namespace embedd::client::internal
