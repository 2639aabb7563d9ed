// SPDX-License-Identifier: Apache-2.0
//
// A service that speaks the API of embedd without a model, on a loopback port of its own. It "embeds" an
// image as [bytes of the image, first byte, 1 if normalised, 0]; an image that begins with "bad" fails with
// CORRUPT_IMAGE. A test scripts refusals through `before`, and reads what came in from `seen`.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "embedd/v1/embedding_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/server.h"
#include "server/support/mutex.h"

namespace embedd::client {

inline constexpr size_t kFakeDimension = 4;

class FakeService final : public v1::EmbeddingService::Service {
 public:
  struct Seen {
    size_t inputs = 0;
    std::string expect_fingerprint;
    std::string authorization;
    v1::Priority priority = v1::PRIORITY_UNSPECIFIED;
  };

  // Runs ahead of an EmbedBatch call, with its number from 0; when not OK, that is the answer.
  std::function<grpc::Status(int call, const v1::EmbedBatchRequest&, grpc::ServerContext*)> before;
  v1::GetServerInfoResponse info;

  FakeService();
  std::vector<Seen> seen() const;

  grpc::Status EmbedBatch(grpc::ServerContext* context, const v1::EmbedBatchRequest* request,
                          v1::EmbedBatchResponse* response) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest* request,
                             v1::GetServerInfoResponse* response) override;

 private:
  mutable Mutex mu_;
  std::vector<Seen> seen_ ABSL_GUARDED_BY(mu_);
};

class FakeHealth final : public grpc::health::v1::Health::Service {
 public:
  std::atomic<grpc::health::v1::HealthCheckResponse::ServingStatus> status =
      grpc::health::v1::HealthCheckResponse::SERVING;
  std::atomic<int> checks = 0;  // how often it was asked
  // Runs ahead of an answer, with its number from 0.
  std::function<void(int check)> before;
  grpc::Status Check(grpc::ServerContext* context, const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override;
};

// Serves both until it goes away.
class FakeServer {
 public:
  // `port` 0: any.
  explicit FakeServer(int port = 0);
  ~FakeServer();

  FakeService service;
  FakeHealth health;
  int port() const { return port_; }
  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
  // Cuts all connections at once, as a killed process would.
  void Kill();

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// The refusals of the contract.
grpc::Status QueueFull(grpc::ServerContext* context, const std::string& pushback_ms);
grpc::Status Loading();

}  // namespace embedd::client
