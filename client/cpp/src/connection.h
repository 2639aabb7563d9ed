// SPDX-License-Identifier: Apache-2.0
//
// What all calls of one Client share: the channel, the server's limits once they are known, and whether the
// server is out of reach at the moment. Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "embedd/client.h"
#include "embedd/v1/embedding_service.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "server/support/mutex.h"

namespace embedd::client::internal {

class Connection {
 public:
  // Errors as Client::Create.
  static absl::StatusOr<std::unique_ptr<Connection>> Create(Options options);

  const Options& options() const { return options_; }
  v1::EmbeddingService::Stub& stub() const { return *stub_; }

  // A context of one attempt: its deadline, and the token where there is one.
  std::unique_ptr<grpc::ClientContext> NewContext(absl::Time deadline) const;

  // Asks the server, once.
  absl::StatusOr<ServerInfo> FetchInfo(absl::Time deadline) const;
  // What the server said when it was first asked; asks as often as `options().retry_for` allows when it was
  // not.
  absl::StatusOr<ServerInfo> KnownInfo(absl::Time deadline) const;

  // Tells `on_outage`, once per outage, that the server is out of reach, or that it is back. An answer to an
  // attempt that was sent before the outage was noticed is no sign of a return.
  void ReportRefusal(const absl::Status& status) const;
  void ReportAnswer(absl::Time sent) const;

 private:
  Connection(Options options, std::shared_ptr<grpc::Channel> channel);

  const Options options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::EmbeddingService::Stub> stub_;
  // When the outage was noticed, in Unix nanoseconds; 0 while there is none.
  mutable std::atomic<int64_t> out_of_reach_ = 0;
  mutable Mutex mu_;
  mutable std::optional<ServerInfo> info_ ABSL_GUARDED_BY(mu_);
};

// The end of an attempt that starts now.
absl::Time AttemptDeadline(const Options& options, absl::Time call_deadline);

// A number in [0, 1).
double Chance();

}  // namespace embedd::client::internal
