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

// Between two looks at a server that does not serve yet.
constexpr absl::Duration kPause = absl::Milliseconds(250);

struct Finding {
  ProbeExit code;
  std::string text;
};

Finding Check(const Common& common, const Place& place, const std::string& service,
              absl::Duration connect_timeout, const std::string& prefix) {
  if (!place.channel->WaitForConnected(absl::ToChronoTime(absl::Now() + connect_timeout))) {
    return {kNoConnection, absl::StrFormat("%sno connection to %s within %s", prefix, place.target.name,
                                           absl::FormatDuration(connect_timeout))};
  }
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + common.timeout));
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  request.set_service(service);
  const auto status = grpc::health::v1::Health::NewStub(place.channel)->Check(&context, request, &response);
  if (!status.ok()) {
    return {kRpcFailed, absl::StrFormat("%shealth check of \"%s\" failed: %s: %s", prefix, service,
                                        CodeName(static_cast<absl::StatusCode>(status.error_code())),
                                        status.error_message())};
  }
  const auto state = grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
  const bool serving = response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  return {serving ? kServing : kNotServing, prefix + "status: " + state};
}

int BadArguments(const absl::Status& status) {
  absl::FPrintF(stderr, "%s\n", status.message());
  return kBadArguments;
}

// `retry_for`: how long to look again while a server does not serve.
int Run(const Common& common, const std::string& service, absl::Duration connect_timeout,
        absl::Duration retry_for) {
  const auto options = ClientOptions(common);
  if (!options.ok()) return BadArguments(options.status());
  const auto places = Places(*options);
  if (!places.ok()) return BadArguments(places.status());
  // Of several servers each has to serve; the first that does not gives the code.
  ProbeExit worst = kServing;
  const absl::Time end = absl::Now() + retry_for;
  for (const Place& place : *places) {
    const std::string prefix = places->size() > 1 ? place.target.name + " " : "";
    Finding found = Check(common, place, service, connect_timeout, prefix);
    while (found.code != kServing && absl::Now() + kPause < end) {
      absl::SleepFor(kPause);
      found = Check(common, place, service, connect_timeout, prefix);
    }
    absl::FPrintF(found.code == kServing ? stdout : stderr, "%s\n", found.text);
    if (worst == kServing) worst = found.code;
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
      "It looks once; with --retry-for it waits so long until they serve.\n"
      "Exit codes: 0 serving, 1 bad arguments, 2 no connection, 3 the check failed, 4 not serving.\n"
      "Example:\n  embedctl --target 127.0.0.1:50051 probe");
  const CLI::Option* retry_for = app.get_option("--retry-for");
  command->callback([&common, service, connect_timeout, retry_for, exit_code] {
    // A health check is over at once unless it is told to wait: the default is for those who have work to do.
    *exit_code = Run(common, *service, *connect_timeout,
                     retry_for->count() > 0 ? common.retry_for : absl::ZeroDuration());
  });
}

}  // namespace embedd::ctl
