// SPDX-License-Identifier: Apache-2.0
//
// embedctl probe: is the server serving? For container and supervisor health checks; exit codes as
// grpc_health_probe.

#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cpp/ctl/commands.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace embedd::ctl {
namespace {

enum ProbeExit { kServing = 0, kBadArguments = 1, kNoConnection = 2, kRpcFailed = 3, kNotServing = 4 };

ProbeExit Tell(ProbeExit code, const std::string& text) {
  absl::FPrintF(code == kServing ? stdout : stderr, "%s\n", text);
  return code;
}

ProbeExit Check(const Common& common, const Place& place, const std::string& service,
                absl::Duration connect_timeout, const std::string& prefix) {
  if (!place.channel->WaitForConnected(absl::ToChronoTime(absl::Now() + connect_timeout))) {
    return Tell(kNoConnection, absl::StrFormat("%sno connection to %s within %s", prefix, place.target.name,
                                               absl::FormatDuration(connect_timeout)));
  }
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + common.timeout));
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  request.set_service(service);
  const auto status = grpc::health::v1::Health::NewStub(place.channel)->Check(&context, request, &response);
  if (!status.ok()) {
    return Tell(kRpcFailed, absl::StrFormat("%shealth check of \"%s\" failed: %s: %s", prefix, service,
                                            CodeName(static_cast<absl::StatusCode>(status.error_code())),
                                            status.error_message()));
  }
  const auto state = grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  const bool serving = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return Tell(serving ? kServing : kNotServing, prefix + "status: " + state);
}

int Run(const Common& common, const std::string& service, absl::Duration connect_timeout) {
  const auto options = ClientOptions(common);
  if (!options.ok()) return Tell(kBadArguments, std::string(options.status().message()));
  const auto places = Places(*options);
  if (!places.ok()) return Tell(kBadArguments, std::string(places.status().message()));
  // Of several servers each has to serve; the first that does not gives the code.
  ProbeExit worst = kServing;
  for (const Place& place : *places) {
    const std::string prefix = places->size() > 1 ? place.target.name + " " : "";
    const ProbeExit code = Check(common, place, service, connect_timeout, prefix);
    if (worst == kServing) worst = code;
  }
  return worst;
}

}  // namespace

void AddProbe(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("probe", "Ask for the health of the server, for use in health checks");
  auto service = std::make_shared<std::string>();
  auto connect_timeout = std::make_shared<absl::Duration>(absl::Seconds(1));
  command->add_option("--service", *service, "Full name of a service, such as embedd.v1.EmbeddingService");
  AddDuration(*command, "--connect-timeout", connect_timeout.get(), "Longest that connecting may take");
  command->footer(
      "Of several servers each is asked, and the first that does not serve gives the code.\n"
      "Exit codes: 0 serving, 1 bad arguments, 2 no connection, 3 the check failed, 4 not serving.\n"
      "Example:\n  embedctl --target 127.0.0.1:50051 probe");
  command->callback([&common, service, connect_timeout, exit_code] {
    *exit_code = Run(common, *service, *connect_timeout);
  });
}

}  // namespace embedd::ctl
