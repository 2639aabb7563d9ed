// SPDX-License-Identifier: Apache-2.0
//
// embedctl offload and reload: move the weights off the device and back by hand. Answered on the server's own
// machine, or with a token.

#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cpp/ctl/commands.h"
#include "embedd/v1/admin_service.grpc.pb.h"

namespace embedd::ctl {
namespace {

using Stub = v1::AdminService::Stub;

template <typename Request, typename Response>
int Move(const Common& common, grpc::Status (Stub::*call)(grpc::ClientContext*, const Request&, Response*),
         const char* done) {
  const auto options = ClientOptions(common);
  if (!options.ok()) return BadArguments(options.status());
  const auto places = Places(*options);
  if (!places.ok()) return BadArguments(places.status());
  int exit_code = kOk;
  for (const Place& place : *places) {
    const std::string prefix = places->size() > 1 ? place.target.name + ": " : "";
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + common.timeout));
    if (!options->token.empty()) context.AddMetadata("authorization", "Bearer " + options->token);
    Response response;
    const std::unique_ptr<Stub> stub = v1::AdminService::NewStub(place.channel);
    const grpc::Status status = (stub.get()->*call)(&context, Request(), &response);
    if (!status.ok()) {
      exit_code = Fail(
          absl::Status(static_cast<absl::StatusCode>(status.error_code()), prefix + status.error_message()));
      continue;
    }
    absl::PrintF("%s%s: %s allocated on the device, before %s, in %s\n", prefix, done,
                 BytesText(response.allocated_after()), BytesText(response.allocated_before()),
                 DurationText(absl::Nanoseconds(response.took_ns())));
  }
  return exit_code;
}

}  // namespace

void AddAdmin(CLI::App& app, const Common& common, int* exit_code) {
  auto* offload =
      app.add_subcommand("offload", "Take the weights off the device; the next call brings them back");
  offload->footer(
      "Answered to callers on the server's own machine, or with a token.\nExample:\n  embedctl offload");
  offload->callback(
      [&common, exit_code] { *exit_code = Move(common, &Stub::Offload, "the weights left the device"); });
  auto* reload = app.add_subcommand("reload", "Put the weights back on the device now");
  reload->footer(
      "Answered to callers on the server's own machine, or with a token.\nExample:\n  embedctl reload");
  reload->callback(
      [&common, exit_code] { *exit_code = Move(common, &Stub::Reload, "the weights are back"); });
}

}  // namespace embedd::ctl
