// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_check.h"

#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

// A file that can be read and is not empty, on any system.
constexpr char kReadable[] = "/etc/hosts";

Config Good() {
  Config config;
  config.model = "m";
  return config;
}

std::string ErrorOf(const Config& config) {
  const absl::Status status = CheckConfig(config);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("The defaults need nothing but a model") {
  CHECK(CheckConfig(Good()).ok());
  CHECK(ErrorOf(Config()).rfind("--model is required", 0) == 0);
}

TEST_CASE("An address that others can reach needs TLS, a token or --allow-insecure") {
  Config config = Good();
  config.listen = {"127.0.0.1:1", "0.0.0.0:50051"};
  const std::string message = ErrorOf(config);
  CHECK(message.rfind("--listen 0.0.0.0:50051", 0) == 0);
  for (const char* fix : {"--tls-cert", "--token-file", "--allow-insecure"}) CHECK(Contains(message, fix));

  Config insecure = config;
  insecure.allow_insecure = true;
  CHECK(CheckConfig(insecure).ok());
  Config token = config;
  token.token_file = kReadable;
  CHECK(CheckConfig(token).ok());
  Config tls = config;
  tls.tls_cert = tls.tls_key = kReadable;
  CHECK(CheckConfig(tls).ok());
}

TEST_CASE("The REST door has the rules of the gRPC one") {
  Config config = Good();
  config.rest = "127.0.0.1:0";
  CHECK(CheckConfig(config).ok());
  config.rest = "[::]:8080";
  CHECK(ErrorOf(config).rfind("--rest [::]:8080 can be reached from other machines", 0) == 0);
  config.token_file = kReadable;
  CHECK(CheckConfig(config).ok());
}

TEST_CASE("Certificate and key come together, and a client CA needs both") {
  Config config = Good();
  config.tls_cert = kReadable;
  CHECK(ErrorOf(config) == "--tls-cert needs --tls-key as well");
  config = Good();
  config.tls_key = kReadable;
  CHECK(ErrorOf(config) == "--tls-key needs --tls-cert as well");
  config = Good();
  config.tls_client_ca = kReadable;
  CHECK(ErrorOf(config) == "--tls-client-ca needs --tls-cert and --tls-key as well");
}

TEST_CASE("A file that cannot be read, or is empty, is named with its flag") {
  Config config = Good();
  config.token_file = "/nowhere/token";
  CHECK(ErrorOf(config) == "--token-file: cannot read /nowhere/token, or it is empty");
  config.token_file = "/dev/null";
  CHECK(Contains(ErrorOf(config), "--token-file"));
  config = Good();
  config.tls_cert = kReadable;
  config.tls_key = "/nowhere/key";
  CHECK(Contains(ErrorOf(config), "--tls-key: cannot read /nowhere/key"));
}

}  // namespace
}  // namespace embedd
