// SPDX-License-Identifier: Apache-2.0
//
// TokenCheck: bearer tokens from a file, one a line, several at once so that they can be rotated. The file is
// read again when it changes. Tokens are compared in constant time and never logged. Thread-safe.

#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/support/clock.h"
#include "server/support/mutex.h"

namespace embedd {

class TokenCheck {
 public:
  // An empty path: every call may pass. kInvalidArgument when the file cannot be read or holds no token.
  static absl::StatusOr<std::unique_ptr<TokenCheck>> Create(std::string token_file, Clock* clock);

  // Whether the call carries `authorization: Bearer TOKEN` with a token of the file.
  bool Allows(const grpc::ServerContextBase& context) const;

  // False when no token was configured: then every call is allowed.
  bool Required() const { return !path_.empty(); }

  // The same for the value of the header; for tests.
  bool AllowsHeader(std::string_view authorization) const;

 private:
  TokenCheck(std::string path, std::vector<std::string> tokens, Clock* clock)
      : path_(std::move(path)), clock_(clock), tokens_(std::move(tokens)) {}
  void RereadIfChanged() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  Clock* const clock_;
  mutable Mutex mu_;
  mutable std::vector<std::string> tokens_ ABSL_GUARDED_BY(mu_);
  mutable absl::Time looked_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace embedd
