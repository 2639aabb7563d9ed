// SPDX-License-Identifier: Apache-2.0
//
// embedctl: asks a running embedd server for vectors and for what it is doing.
// Exit codes: 0 done; 1 it failed, or an input did; 2 bad arguments. `probe` uses those of grpc_health_probe.

#include "client/cpp/ctl/commands.h"

namespace {

constexpr char kFooter[] = R"(Examples:
  embedctl info                              what is served, and its limits
  embedctl embed cat.jpg dog.png             one line per image
  embedctl embed *.jpg --npy vectors.npy     a NumPy file [images, dimension]
  embedctl rank cat.jpg --text "a cat" --text "a dog"
  embedctl --target gpu-1:50051,gpu-2:50051 embed *.jpg --npy vectors.npy
  embedctl --target gpu-host:50051 --tls-ca ca.pem embed cat.jpg --json
  embedctl bench --callers 16 --images 16    how fast it is
`embedctl COMMAND --help` shows the flags of a command; server flags may stand before or after it.)";

}  // namespace

int main(int argc, char** argv) {
  using namespace embedd::ctl;
  CLI::App app("Image and text embeddings from running embedd servers.", "embedctl");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "embedctl " EMBEDD_CLIENT_VERSION);
  app.get_formatter()->column_width(34);

  Common common;
  int exit_code = kOk;
  AddCommonFlags(app, &common);
  AddInfo(app, common, &exit_code);
  AddEmbed(app, common, &exit_code);
  AddRank(app, common, &exit_code);
  AddProbe(app, common, &exit_code);
  AddProfile(app, common, &exit_code);
  AddBatches(app, common, &exit_code);
  AddVerify(app, common, &exit_code);
  AddRequest(app, common, &exit_code);
  AddAdmin(app, common, &exit_code);
  AddBench(app, common, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) == 0) return kOk;  // --help, --version
    // grpc_health_probe answers bad arguments with 1.
    return argc > 1 && app.get_subcommand("probe")->parsed() ? 1 : kUsage;
  }
  return exit_code;
}
