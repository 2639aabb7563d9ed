// SPDX-License-Identifier: Apache-2.0
//
// What the commands of embedctl share: the flags that say which server, how errors are told, numbers as text.

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/src/channel.h"
#include "embedd/client.h"

namespace embedd::ctl {

// Exit codes; `probe` has its own.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// Flags of every command.
struct Common {
  std::string target = "127.0.0.1:50051";
  std::string http = "http://127.0.0.1:9464";
  bool tls = false;
  std::string tls_ca, cert, key, tls_server_name;
  std::string token_file;
  absl::Duration timeout = absl::Seconds(60);
  absl::Duration retry_for = absl::Seconds(30);
};

void AddCommonFlags(CLI::App& app, Common* common);

// A flag that takes 500ms, 30s, 2m, or a bare number of seconds. Not below zero.
CLI::Option* AddDuration(CLI::App& app, const std::string& name, absl::Duration* value,
                         const std::string& help);

// Options of a client, the token read from its file; and the client itself.
absl::StatusOr<client::Options> ClientOptions(const Common& common);
absl::StatusOr<std::unique_ptr<client::Client>> Connect(const Common& common);

// One of the servers of --target, for commands that speak to each by itself.
struct Place {
  client::internal::Target target;
  std::shared_ptr<grpc::Channel> channel;
};
absl::StatusOr<std::vector<Place>> Places(const client::Options& options, bool own_connections = false);

// What a count may be.
CLI::Validator OneOrMore();

// Prints what went wrong and what to do about it; returns kFailed.
int Fail(const absl::Status& status);
// The same of what came of the arguments alone; returns kUsage when they are wrong.
int BadArguments(const absl::Status& status);

// Says on stderr which input failed and why; the others go on.
void TellFailed(const std::string& input, const client::InputError& error);

// `text` on one line: without line ends and other control characters, which names of files may hold.
std::string Printable(std::string text);
// "INVALID_ARGUMENT" and its like.
std::string CodeName(absl::StatusCode code);
// "1.50 MiB".
std::string BytesText(uint64_t bytes);
// "12.3 ms".
std::string DurationText(absl::Duration duration);
// "[0.1,0.2]", with as many digits as a float needs.
std::string NumbersText(std::span<const float> numbers);

}  // namespace embedd::ctl
