// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_check.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "server/config/listen_address.h"

namespace embedd {
namespace {

absl::Status CheckFiles(const Config& config) {
  const std::pair<const char*, const std::string&> files[] = {{"--tls-cert", config.tls_cert},
                                                              {"--tls-key", config.tls_key},
                                                              {"--tls-client-ca", config.tls_client_ca},
                                                              {"--token-file", config.token_file}};
  for (const auto& [flag, path] : files) {
    if (path.empty()) continue;
    std::ifstream stream(path);
    if (!stream || stream.peek() == std::ifstream::traits_type::eof()) {
      return absl::InvalidArgumentError(absl::StrCat(flag, ": cannot read ", path, ", or it is empty"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConfig(const Config& config) {
  if (config.model.empty()) {
    return absl::InvalidArgumentError("--model is required: the folder of an OpenCLIP or Hugging Face model");
  }
  if (config.tls_cert.empty() != config.tls_key.empty()) {
    const bool has_cert = config.tls_key.empty();
    return absl::InvalidArgumentError(absl::StrCat(has_cert ? "--tls-cert" : "--tls-key", " needs ",
                                                   has_cert ? "--tls-key" : "--tls-cert", " as well"));
  }
  if (!config.tls_client_ca.empty() && config.tls_cert.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-cert and --tls-key as well");
  }
  const bool guarded = !config.tls_cert.empty() || !config.token_file.empty();
  const auto check = [&](const char* flag, const std::string& text) {
    const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
    if (!address.ok())
      return absl::InvalidArgumentError(absl::StrCat(flag, ": ", address.status().message()));
    if (address->IsLocal() || guarded || config.allow_insecure) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " ", text,
                     " can be reached from other machines, without TLS and without token; give "
                     "--tls-cert and --tls-key, or --token-file, or --allow-insecure if that is meant"));
  };
  for (const std::string& text : config.listen) {
    if (absl::Status status = check("--listen", text); !status.ok()) return status;
  }
  if (config.rest != "off") {
    if (absl::Status status = check("--rest", config.rest); !status.ok()) return status;
  }
  return CheckFiles(config);
}

}  // namespace embedd
