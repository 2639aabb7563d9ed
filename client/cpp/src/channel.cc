// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/channel.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/src/file.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace embedd::client::internal {
namespace {

constexpr uint64_t kMaxPemBytes = uint64_t{1} << 20;

// The largest message a server of ours takes by default; gRPC's own 256 KiB would silently end its
// transparent retries for nearly every request of images.
constexpr int kRetryBufferBytes = 64 << 20;

// The first policy that the library knows is taken; weights come with the answers of the servers. A replica
// that loads or drains is left out by its health.
constexpr char kBalance[] =
    R"({"loadBalancingConfig":[{"weighted_round_robin":{"blackoutPeriod":"0s","weightUpdatePeriod":"0.2s"}},)"
    R"({"round_robin":{}}],"healthCheckConfig":{"serviceName":""}})";

// `kind`: what the file must hold. gRPC would only say, at the first call, that there is no address to
// connect to.
absl::Status ReadPem(const std::string& path, const std::string& kind, std::string* pem) {
  if (path.empty()) return absl::OkStatus();
  auto content = ReadFile(path, kMaxPemBytes);
  if (!content.ok())
    return absl::NotFoundError(absl::StrCat("TLS file ", path, ": ", content.status().message()));
  if (content->find("-----BEGIN ") == std::string::npos ||
      content->find(kind + "-----") == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("TLS file ", path, " holds no ", kind, " in PEM form"));
  }
  *pem = *std::move(content);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const Options& options,
                                                                      const Target& target) {
  if (!UsesTls(options, target)) return grpc::InsecureChannelCredentials();
  const TlsOptions tls = options.tls.value_or(TlsOptions{});
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a client certificate needs its key, and a key its certificate: give both");
  }
  grpc::SslCredentialsOptions ssl;
  for (const auto& status : {ReadPem(tls.ca_file, "CERTIFICATE", &ssl.pem_root_certs),
                             ReadPem(tls.cert_file, "CERTIFICATE", &ssl.pem_cert_chain),
                             ReadPem(tls.key_file, "PRIVATE KEY", &ssl.pem_private_key)}) {
    if (!status.ok()) return status;
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::vector<Target>> TargetsOf(const Options& options) {
  auto targets = ParseTargets(options.target);
  if (targets.empty()) {
    return absl::InvalidArgumentError("target is empty; give HOST:PORT or unix:/path/to/socket");
  }
  for (Target& target : targets) target.servers = CountServers(target);
  return targets;
}

bool UsesTls(const Options& options, const Target& target) { return options.tls.has_value() || target.tls; }

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const Options& options, const Target& target,
                                                           bool own_connection) {
  const auto credentials = Credentials(options, target);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments args;
  args.SetMaxSendMessageSize(-1);  // the server's limit is asked for and kept
  args.SetMaxReceiveMessageSize(-1);
  args.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, kRetryBufferBytes);
  // A server that restarts is found again within a second or two, not after gRPC's two minutes.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, own_connection ? 1 : 0);
  // Finds a peer that is gone without a word.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  if (target.local) args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (Balanced(target)) args.SetServiceConfigJSON(kBalance);
  args.SetUserAgentPrefix("embedd-cpp/" EMBEDD_CLIENT_VERSION);
  if (options.tls && !options.tls->server_name.empty())
    args.SetSslTargetNameOverride(options.tls->server_name);
  return grpc::CreateCustomChannel(target.name, *credentials, args);
}

}  // namespace embedd::client::internal
