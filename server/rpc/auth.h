// SPDX-License-Identifier: Apache-2.0
//
// TokenCheck: bearer tokens from a file, one a line, several at once so that they can be rotated. Once a
// second one of the callers looks whether the file has changed, and reads it if so, while the others go on
// with the tokens read before. Tokens are compared in constant time and never logged. Thread-safe.

#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
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

  // The same for the value of the header.
  bool AllowsHeader(std::string_view authorization) const;

 private:
  // What tells one content of the file from another without reading it; all zero: there is no file.
  struct Mark {
    int64_t file = 0, size = 0, modified_ns = 0, changed_ns = 0;
    bool operator==(const Mark&) const = default;
  };
  static Mark Look(const std::string& path);

  TokenCheck(std::string path, std::vector<std::string> tokens, Mark mark, Clock* clock)
      : path_(std::move(path)), clock_(clock), tokens_(std::move(tokens)), mark_(mark) {}
  void RereadIfChanged() const;

  const std::string path_;
  Clock* const clock_;
  mutable Mutex mu_;  // held to compare or to swap tokens, never while a file is looked at
  mutable std::vector<std::string> tokens_ ABSL_GUARDED_BY(mu_);
  mutable absl::Time looked_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  mutable Mutex look_mu_;  // one looks at a time
  mutable Mark mark_ ABSL_GUARDED_BY(look_mu_);
  mutable bool settled_ ABSL_GUARDED_BY(look_mu_) = false;
};

}  // namespace embedd
