// SPDX-License-Identifier: Apache-2.0
//
// GrpcServer: the gRPC server of embedd: addresses, credentials, limits, and the services. Serves health from
// its first moment; the state decides what the other methods answer.

#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/embedding_service.h"
#include "server/rpc/health_service.h"
#include "server/rpc/inference_service.h"
#include "server/rpc/reflection_service.h"

namespace embedd {

class GrpcServer {
 public:
  struct Options {
    std::vector<std::string> listen;  // HOST:PORT (port 0 = any), [IPV6]:PORT or unix:PATH
    std::string tls_cert, tls_key;    // PEM files; both empty: no TLS
    std::string tls_client_ca;        // PEM file; set: clients must show a certificate that it signed
    bool reflection = true;
    int64_t max_message_bytes = int64_t{64} << 20;
    int64_t queue_bytes = int64_t{512} << 20;
    int64_t waiting_bytes = 0;  // what Road::waiting_room holds
    int64_t rest_bytes = 0;     // what the bodies of the REST door take; for MemoryWarning
    // A connection older than this is asked to go (GOAWAY), so that callers look up the name again and find
    // new replicas. Zero: never.
    absl::Duration max_connection_age;
    int max_streams_per_connection = 256;
  };

  // Binds every address and starts to serve. kAlreadyExists: an address is in use (named); kInvalidArgument:
  // a certificate or key cannot be read or used. `road` must outlive this.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(Options options, Road* road, FactsSource facts,
                                                           MoveModel move);
  ~GrpcServer();

  // What to tell an operator when the messages and images that callers may have here do not fit in `memory`
  // bytes; empty when they do.
  static std::string MemoryWarning(const Options& options, int64_t memory);

  // As bound: HOST:PORT with the real port, or unix:PATH.
  const std::vector<std::string>& addresses() const { return addresses_; }

  OpenStreams& open_streams() { return service_.open_streams(); }

  // Removes the files of unix: addresses, which a process that ends without Shutdown would leave behind.
  // Calls on connections that are open go on.
  void RemoveSocketFiles() const;

  // Refuses new calls, gives open ones until `grace` from now, cancels the rest, and returns when all have
  // ended.
  void Shutdown(absl::Duration grace);

 private:
  GrpcServer(Road* road, FactsSource facts, MoveModel move);

  EmbeddingServiceImpl service_;
  InferenceServiceImpl inference_;
  AdminServiceImpl admin_;
  HealthService health_;
  ReflectionV1 reflection_v1_;
  ReflectionV1Alpha reflection_v1alpha_;
  std::vector<std::string> addresses_;
  std::unique_ptr<grpc::Server> server_;
};

// The version of the gRPC library.
std::string GrpcVersion();

}  // namespace embedd
