// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/common.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/src/file.h"

namespace embedd::ctl {
namespace {

constexpr uint64_t kMaxTokenFile = 64 << 10;

// What the user can do about a failure, beyond what its message says.
std::string Hint(const absl::Status& status) {
  const std::string reason = client::ErrorReason(status);
  if (reason == "QUEUE_FULL") return "the server is busy: wait longer with --retry-for, or send less at once";
  if (reason == "MODEL_LOADING") return "the server is starting: wait longer with --retry-for";
  if (absl::IsDeadlineExceeded(status)) return "give it more time with --timeout";
  if (absl::IsUnauthenticated(status))
    return "give a token of the server with --token-file, or --cert and --key";
  if (absl::IsUnavailable(status) && reason.empty()) {
    return "name the server with --target or EMBEDD_TARGET; add --tls or --tls-ca, or write grpcs://, when "
           "it was "
           "started with --tls-cert";
  }
  return "";
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  auto content = client::internal::ReadFile(path, kMaxTokenFile);
  if (!content.ok()) {
    return absl::Status(content.status().code(),
                        absl::StrCat("--token-file ", path, ": ", content.status().message()));
  }
  // The file of the server may hold several, one a line.
  std::string token = content->substr(0, content->find('\n'));
  absl::StripAsciiWhitespace(&token);
  if (token.empty())
    return absl::InvalidArgumentError(absl::StrCat("--token-file ", path, ": its first line is empty"));
  return token;
}

}  // namespace

void AddCommonFlags(CLI::App& app, Common* common) {
  const std::string group = "Server";
  app.add_option(
         "--target", common->target,
         "HOST:PORT or unix:/path/to/socket of the server, after grpcs:// with TLS; several, divided by "
         "commas, share the work")
      ->envname("EMBEDD_TARGET")
      ->capture_default_str()
      ->group(group);
  app.add_option("--http", common->http,
                 "Address of the server's --http, for `batches`; several divided by commas")
      ->envname("EMBEDD_HTTP")
      ->capture_default_str()
      ->group(group);
  app.add_flag("--tls", common->tls, "Use TLS with the certificates of the system")->group(group);
  app.add_option("--tls-ca", common->tls_ca,
                 "Use TLS; PEM file of the authority that signed the server's certificate")
      ->group(group);
  app.add_option("--cert", common->cert, "PEM file of our certificate, for a server with --tls-client-ca")
      ->group(group);
  app.add_option("--key", common->key, "PEM file of its key")->group(group);
  app.add_option("--tls-server-name", common->tls_server_name,
                 "Name in the server's certificate, where it is not the host of --target")
      ->group(group);
  app.add_option("--token-file", common->token_file, "File whose first line is the bearer token")
      ->envname("EMBEDD_TOKEN_FILE")
      ->group(group);
  AddDuration(app, "--timeout", &common->timeout, "Longest that one request may take")->group(group);
  AddDuration(
      app, "--retry-for", &common->retry_for,
      "How long a command that embeds goes on when the server is not there or its queue is full; 0: give "
      "up at once")
      ->group(group);
}

CLI::Option* AddDuration(CLI::App& app, const std::string& name, absl::Duration* value,
                         const std::string& help) {
  const auto parse = [name, value](const std::string& text) {
    absl::Duration parsed;
    double seconds = 0;
    if (absl::SimpleAtod(text, &seconds) && !std::isnan(seconds)) {
      parsed = absl::Seconds(seconds);
    } else if (!absl::ParseDuration(text, &parsed)) {
      throw CLI::ValidationError(name, "\"" + text + "\" is no duration; write 500ms, 30s or 2m");
    }
    if (parsed < absl::ZeroDuration()) throw CLI::ValidationError(name, "a duration cannot be negative");
    *value = parsed;
  };
  return app.add_option_function<std::string>(name, parse, help)
      ->type_name("DURATION")
      ->default_str(absl::FormatDuration(*value));
}

CLI::Validator OneOrMore() {
  return {[](std::string& text) {
            double number = 0;
            return absl::SimpleAtod(text, &number) && number >= 1 ? "" : "\"" + text + "\" is not 1 or more";
          },
          ""};
}

absl::StatusOr<client::Options> ClientOptions(const Common& common) {
  client::Options options{.target = common.target, .timeout = common.timeout, .retry_for = common.retry_for};
  if (common.tls || !common.tls_ca.empty() || !common.cert.empty() || !common.key.empty() ||
      !common.tls_server_name.empty()) {
    options.tls = client::TlsOptions{.ca_file = common.tls_ca,
                                     .cert_file = common.cert,
                                     .key_file = common.key,
                                     .server_name = common.tls_server_name};
  }
  if (!common.token_file.empty()) {
    auto token = ReadToken(common.token_file);
    if (!token.ok()) return token.status();
    options.token = *std::move(token);
  }
  options.on_outage = [](const std::string& message) { absl::FPrintF(stderr, "embedctl: %s\n", message); };
  return options;
}

absl::StatusOr<std::unique_ptr<client::Client>> Connect(const Common& common) {
  auto options = ClientOptions(common);
  if (!options.ok()) return options.status();
  return client::Client::Create(*std::move(options));
}

absl::StatusOr<std::vector<Place>> Places(const client::Options& options, bool own_connections) {
  auto targets = client::internal::TargetsOf(options);
  if (!targets.ok()) return targets.status();
  std::vector<Place> places;
  for (auto& target : *targets) {
    auto channel = client::internal::MakeChannel(options, target, own_connections);
    if (!channel.ok()) return channel.status();
    places.push_back({std::move(target), *std::move(channel)});
  }
  return places;
}

int Fail(const absl::Status& status) {
  const std::string reason = client::ErrorReason(status);
  const std::string code = CodeName(status.code());
  absl::FPrintF(stderr, "embedctl: %s%s: %s\n", code, reason.empty() || reason == code ? "" : " " + reason,
                status.message());
  if (const auto hint = Hint(status); !hint.empty()) absl::FPrintF(stderr, "embedctl: %s\n", hint);
  return kFailed;
}

int BadArguments(const absl::Status& status) {
  const int failed = Fail(status);
  return absl::IsInvalidArgument(status) ? kUsage : failed;
}

std::string Printable(std::string text) {
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return text;
}

void TellFailed(const std::string& input, const client::InputError& error) {
  absl::FPrintF(stderr, "embedctl: %s: %s: %s\n", Printable(input), error.reason, error.message);
}

std::string CodeName(absl::StatusCode code) { return absl::StatusCodeToString(code); }

std::string BytesText(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
  return absl::StrFormat("%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, kUnits[unit]);
}

std::string DurationText(absl::Duration duration) {
  const double ms = absl::ToDoubleMilliseconds(duration);
  if (ms >= 10'000) return absl::StrFormat("%.1f s", ms / 1000);
  return absl::StrFormat("%.*f ms", ms < 1 ? 3 : ms < 100 ? 2 : 0, ms);
}

std::string NumbersText(std::span<const float> numbers) {
  std::string text = "[";
  for (size_t i = 0; i < numbers.size(); ++i)
    absl::StrAppendFormat(&text, "%s%.9g", i == 0 ? "" : ",", numbers[i]);
  return text + "]";
}

}  // namespace embedd::ctl
