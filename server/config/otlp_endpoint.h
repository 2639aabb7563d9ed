// SPDX-License-Identifier: Apache-2.0
//
// OtlpEndpoint: the value of --otlp-endpoint, read and checked.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

// Where spans go.
struct OtlpEndpoint {
  std::string host;  // without the brackets of IPv6
  int port = 4318;
  std::string path = "/v1/traces";

  // "http://HOST[:PORT][/PATH]"; /v1/traces is added to the path. InvalidArgument says what is wrong.
  static absl::StatusOr<OtlpEndpoint> Parse(absl::string_view url);
};

}  // namespace embedd
