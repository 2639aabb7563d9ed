// SPDX-License-Identifier: Apache-2.0
//
// embedctl batches: the records of the last device batches, with the memory each took and gave back, as a
// table.

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/cpp/ctl/batch_records.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/ctl/table.h"
#include "httplib.h"

namespace embedd::ctl {
namespace {

struct Flags {
  bool follow = false;
  bool json = false;
  size_t last = 20;
  absl::Duration every = absl::Seconds(1);
};

// httplib aborts on some addresses it cannot read, so the form is checked first.
absl::StatusOr<std::string> BaseUrl(std::string http) {
  if (http.find("://") == std::string::npos) http = "http://" + http;
  while (http.ends_with('/')) http.pop_back();
  const auto host = http.substr(http.find("://") + 3);
  const auto colon = host.rfind(':');
  int port = 0;
  if (!http.starts_with("http://") || colon == 0 || colon == std::string::npos ||
      !absl::SimpleAtoi(host.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("--http ", http, ": write it as http://HOST:PORT"));
  }
  return http;
}

absl::StatusOr<std::vector<BatchRecord>> Fetch(const std::string& url, absl::Duration timeout) {
  httplib::Client http(url);
  const auto micros = absl::ToInt64Microseconds(timeout);
  http.set_connection_timeout(micros / 1'000'000, micros % 1'000'000);
  http.set_read_timeout(micros / 1'000'000, micros % 1'000'000);
  const auto response = http.Get("/batches");
  if (!response) {
    return absl::NotFoundError(
        absl::StrCat("cannot reach ", url, " (", httplib::to_string(response.error()),
                     "); name the address of the server's --http with --http or EMBEDD_HTTP"));
  }
  if (response->status != 200) {
    return absl::UnknownError(absl::StrCat(url, "/batches answered HTTP ", response->status));
  }
  return ParseBatchRecords(response->body);
}

void Print(std::span<const BatchRecord> records, bool json, bool header, std::vector<size_t>* widths) {
  if (json) {
    for (const auto& record : records) absl::PrintF("%s\n", record.json);
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const auto& record : records) rows.push_back(Cells(record));
    absl::PrintF("%s", TableText(header ? BatchHeader() : std::vector<std::string>(), rows, widths));
  }
  std::fflush(stdout);
}

// One server: what was printed of it.
struct Server {
  std::string url;
  uint64_t seen = 0;
  bool header = true;
  std::vector<size_t> widths;
};

absl::Status Show(const Flags& flags, absl::Duration timeout, bool named, Server* server) {
  const auto records = Fetch(server->url, timeout);
  if (!records.ok()) return records.status();
  std::span<const BatchRecord> fresh = *records;
  if (!records->empty() && records->back().id < server->seen)
    server->seen = 0;  // another start of the server
  if (server->header && fresh.size() > flags.last) fresh = fresh.last(flags.last);
  while (!server->header && !fresh.empty() && fresh.front().id <= server->seen) fresh = fresh.subspan(1);
  if (server->header || !fresh.empty()) {
    if (named && !flags.json) absl::PrintF("%s\n", server->url);
    Print(fresh, flags.json, server->header, &server->widths);
  }
  if (!records->empty()) server->seen = records->back().id;
  server->header = false;
  return absl::OkStatus();
}

int Run(const Common& common, const Flags& flags) {
  std::vector<Server> servers;
  for (const absl::string_view one : absl::StrSplit(common.http, ',', absl::SkipWhitespace())) {
    auto url = BaseUrl(std::string(absl::StripAsciiWhitespace(one)));
    if (!url.ok()) return BadArguments(url.status());
    servers.push_back({.url = *std::move(url)});
  }
  while (true) {
    for (Server& server : servers) {
      if (auto status = Show(flags, common.timeout, servers.size() > 1, &server); !status.ok())
        return Fail(status);
    }
    if (std::ferror(stdout) != 0) return kFailed;  // main says so
    if (!flags.follow) return kOk;
    absl::SleepFor(flags.every);
  }
}

}  // namespace

void AddBatches(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("batches", "Show the last device batches and the memory each gave back");
  auto flags = std::make_shared<Flags>();
  command->add_flag("--follow", flags->follow, "Go on and print new batches as they end");
  command->add_option("--last", flags->last, "How many to begin with")->capture_default_str();
  AddDuration(*command, "--every", &flags->every, "How often --follow asks");
  command->add_flag("--json", flags->json, "One JSON object per line");
  command->footer(
      "Memory is what the device's allocator counts: `took` is peak - before, `kept` is after - before and "
      "must be 0\n"
      "or less.\n"
      "Example:\n  embedctl batches --follow");
  command->callback([&common, flags, exit_code] { *exit_code = Run(common, *flags); });
}

}  // namespace embedd::ctl
