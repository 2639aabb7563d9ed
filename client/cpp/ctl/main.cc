// SPDX-License-Identifier: Apache-2.0
//
// embedctl: asks a running embedd server for vectors and for what it is doing.
// Exit codes: 0 done; 1 it failed, or an input did; 2 bad arguments. `probe` uses those of grpc_health_probe.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
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

using namespace embedd::ctl;

// Where a stream is closed, the first socket or file would take its number, and what is printed would go
// there.
void HoldClosedStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) == -1) open("/dev/null", O_RDONLY);  // takes the lowest number that is free
  }
}

// Of "--flag=" CLI11 takes the next argument for the value; the shell makes it of --target=$EMPTY. In
// reverse, as CLI11 wants them.
std::vector<std::string> Arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  bool flags = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    flags &= argument != "--";
    const bool empty = flags && argument.size() > 3 && argument.starts_with("--") &&
                       argument.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == argument.size() - 1 &&
                       argument.back() == '=';
    arguments.emplace_back(argument.substr(0, argument.size() - (empty ? 1 : 0)));
    if (empty) arguments.emplace_back();
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

// `probe` is set when that is the command: its exit code is its answer, whoever reads what it prints.
int Run(int argc, char** argv, bool* probe) {
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
    app.parse(Arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    *probe = argc > 1 && app.get_subcommand("probe")->parsed();
    if (app.exit(error) == 0) return kOk;  // --help, --version
    return *probe ? 1 : kUsage;            // grpc_health_probe answers bad arguments with 1
  }
  *probe = app.get_subcommand("probe")->parsed();
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  HoldClosedStreams();
  bool probe = false;
  const int exit_code = Run(argc, argv, &probe);
  // A full disk must not look like success.
  const bool printed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (printed || probe) return exit_code;
  absl::FPrintF(stderr, "embedctl: the output could not be written; is its disk full?\n");
  return exit_code == kOk ? kFailed : exit_code;
}
