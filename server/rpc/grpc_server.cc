// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/grpc_server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {
namespace {

const ServiceNames& PublicServices() {
  static const auto* const names = new ServiceNames{"embedd.v1.AdminService",
                                                    "embedd.v1.EmbeddingService",
                                                    "grpc.health.v1.Health",
                                                    "grpc.reflection.v1.ServerReflection",
                                                    "grpc.reflection.v1alpha.ServerReflection",
                                                    "inference.GRPCInferenceService"};
  return *names;
}

absl::StatusOr<std::string> ReadPem(const std::string& flag, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  if (!file || !absl::StrContains(content.str(), "-----BEGIN")) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " ", path, " cannot be read as a PEM file"));
  }
  return content.str();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const GrpcServer::Options& options) {
  if (options.tls_cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(options.tls_client_ca.empty()
                                            ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                            : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  absl::StatusOr<std::string> cert = ReadPem("--tls-cert", options.tls_cert);
  if (!cert.ok()) return cert.status();
  absl::StatusOr<std::string> key = ReadPem("--tls-key", options.tls_key);
  if (!key.ok()) return key.status();
  ssl.pem_key_cert_pairs.push_back({.private_key = *std::move(key), .cert_chain = *std::move(cert)});
  if (!options.tls_client_ca.empty()) {
    absl::StatusOr<std::string> ca = ReadPem("--tls-client-ca", options.tls_client_ca);
    if (!ca.ok()) return ca.status();
    ssl.pem_root_certs = *std::move(ca);
  }
  return grpc::SslServerCredentials(ssl);
}

// gRPC says only that it did not start; whether that is for the certificates shows on an address that is
// surely free.
bool Usable(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", credentials, &port);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  return server != nullptr && port != 0;
}

// Bytes of messages that gRPC may hold. It holds a whole message before a handler sees it, so the queue
// cannot bound those bytes. The quota can; it is the last line, above what the queue admits, because gRPC's
// own refusal carries no hint when to retry.
int64_t MessageQuota(const GrpcServer::Options& options) {
  return 2 * options.queue_bytes + 8 * options.max_message_bytes - options.waiting_bytes;
}

void SetLimits(const GrpcServer::Options& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  builder.SetMaxSendMessageSize(-1);  // what we send is bounded by what we accept
  grpc::ResourceQuota quota("embedd");
  quota.Resize(static_cast<size_t>(MessageQuota(options)));
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a second server on the port must fail
  // Finds callers that went away without a word; lets them ping every 10 s, as
  // Go's usually do, to find out about us.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  // gRPC inflates a message to its end before it looks at its size: 0.9 MB on the wire were 900 MiB. Such a
  // call is UNIMPLEMENTED; pictures are compressed already.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  if (options.max_connection_age > absl::ZeroDuration()) {
    // What runs on an old connection may end there, however long it takes; new calls go to a new one.
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(options.max_connection_age)));
  }
}

}  // namespace

GrpcServer::GrpcServer(Road* road, FactsSource facts, MoveModel move)
    : service_(road, std::move(facts)),
      inference_(road),
      admin_(road, std::move(move)),
      health_(road->state),
      reflection_v1_(PublicServices(), road->tokens),
      reflection_v1alpha_(PublicServices(), road->tokens) {}

std::string GrpcServer::MemoryWarning(const Options& options, int64_t memory) {
  const int64_t most =
      MessageQuota(options) + options.waiting_bytes + options.queue_bytes + options.rest_bytes;
  if (memory <= 0 || most <= memory) return "";
  return absl::StrCat(
      "callers may fill ", most >> 20, " MiB, more than the ", memory >> 20,
      " MiB there are: lower --queue-bytes (counts three times) or --max-message-bytes (counts eight times)");
}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Options options, Road* road, FactsSource facts,
                                                              MoveModel move) {
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> credentials = MakeCredentials(options);
  if (!credentials.ok()) return credentials.status();
  const int64_t machine = MachineMemoryBytes(), group = CgroupMemoryLimit();
  const std::string warning = MemoryWarning(options, group > 0 ? std::min(machine, group) : machine);
  if (!warning.empty()) LogWarn(warning);
  std::unique_ptr<GrpcServer> self(new GrpcServer(road, std::move(facts), std::move(move)));

  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < options.listen.size(); ++i) {
    builder.AddListeningPort(options.listen[i], *credentials, &ports[i]);
  }
  builder.RegisterService(&self->service_);
  builder.RegisterService(&self->inference_);
  builder.RegisterService(&self->admin_);
  builder.RegisterService(&self->health_);
  if (options.reflection) {
    builder.RegisterService(&self->reflection_v1_);
    builder.RegisterService(&self->reflection_v1alpha_);
  }
  self->server_ = builder.BuildAndStart();
  for (size_t i = 0; i < options.listen.size(); ++i) {
    const std::string& address = options.listen[i];
    if (self->server_ == nullptr || ports[i] == 0) {
      if (ports[i] != 0) continue;  // this one could be bound; name the one that could not
      if (!options.tls_cert.empty() && !Usable(*credentials)) {
        return absl::InvalidArgumentError(absl::StrCat("--tls-cert ", options.tls_cert, " and --tls-key ",
                                                       options.tls_key,
                                                       " cannot be used: do they belong together?"));
      }
      return absl::AlreadyExistsError(
          absl::StrCat("cannot listen on ", address, ": the address is in use or not ours"));
    }
    const bool is_unix = absl::StartsWith(address, "unix:");
    self->addresses_.push_back(is_unix ? address
                                       : absl::StrCat(address.substr(0, address.rfind(':')), ":", ports[i]));
  }
  if (self->server_ == nullptr) {
    return absl::InvalidArgumentError(
        "gRPC did not start: check --tls-cert and --tls-key (do they belong together?)");
  }
  return self;
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::RemoveSocketFiles() const {
  for (const std::string& address : addresses_) {
    absl::string_view path = address;
    if (!absl::ConsumePrefix(&path, "unix:")) continue;
    absl::ConsumePrefix(&path, "//");  // unix:///absolute/path
    unlink(std::string(path).c_str());
  }
}

void GrpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  // The clock of macOS's standard library counts microseconds, and gRPC takes no other point in time.
  using Tick = std::chrono::system_clock::duration;
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<Tick>(absl::ToChronoNanoseconds(grace)));
  server_->Wait();
}

std::string GrpcVersion() { return grpc::Version(); }

}  // namespace embedd
