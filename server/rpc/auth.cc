// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/auth.h"

#include <sys/stat.h>

#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/support/log.h"

namespace embedd {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);

absl::StatusOr<std::vector<std::string>> ReadTokens(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("--token-file ", path, " cannot be read"));
  std::vector<std::string> tokens;
  std::string line;
  while (std::getline(file, line)) {
    const std::string token(absl::StripAsciiWhitespace(line));
    if (!token.empty() && token[0] != '#') tokens.push_back(token);
  }
  if (tokens.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--token-file ", path, " holds no token: write one a line"));
  }
  return tokens;
}

// Takes the same time wherever the first difference is. Only the length may show.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  volatile unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = difference | static_cast<unsigned char>(static_cast<unsigned char>(a[i]) ^
                                                         static_cast<unsigned char>(b[i]));
  }
  return difference == 0;
}

}  // namespace

TokenCheck::Mark TokenCheck::Look(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return {};
#if defined(__APPLE__)
  const timespec modified = found.st_mtimespec, changed = found.st_ctimespec;
#else
  const timespec modified = found.st_mtim, changed = found.st_ctim;
#endif
  return {.file = static_cast<int64_t>(found.st_ino),
          .size = static_cast<int64_t>(found.st_size),
          .modified_ns = absl::ToUnixNanos(absl::TimeFromTimespec(modified)),
          .changed_ns = absl::ToUnixNanos(absl::TimeFromTimespec(changed))};
}

absl::StatusOr<std::unique_ptr<TokenCheck>> TokenCheck::Create(std::string token_file, Clock* clock) {
  std::vector<std::string> tokens;
  Mark mark;
  if (!token_file.empty()) {
    mark = Look(token_file);  // before it is read: a change meanwhile is seen at the next look
    absl::StatusOr<std::vector<std::string>> read = ReadTokens(token_file);
    if (!read.ok()) return read.status();
    tokens = *std::move(read);
  }
  return std::unique_ptr<TokenCheck>(new TokenCheck(std::move(token_file), std::move(tokens), mark, clock));
}

bool TokenCheck::Allows(const grpc::ServerContextBase& context) const {
  if (path_.empty()) return true;
  const auto& metadata = context.client_metadata();
  const auto header = metadata.find("authorization");
  if (header == metadata.end()) return false;
  return AllowsHeader(std::string_view(header->second.data(), header->second.size()));
}

bool TokenCheck::AllowsHeader(std::string_view authorization) const {
  if (path_.empty()) return true;
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size() ||
      !absl::EqualsIgnoreCase(absl::string_view(authorization.data(), kScheme.size()),
                              absl::string_view(kScheme.data(), kScheme.size()))) {
    return false;
  }
  const std::string_view given = authorization.substr(kScheme.size());
  RereadIfChanged();
  MutexLock lock(&mu_);
  bool allowed = false;
  for (const std::string& token : tokens_) allowed = SameSecret(given, token) || allowed;
  return allowed;
}

void TokenCheck::RereadIfChanged() const {
  {
    MutexLock lock(&mu_);
    const absl::Time now = clock_->TimeNow();
    if (now - looked_at_ < kLookEvery) return;
    looked_at_ = now;
  }
  MutexLock look(&look_mu_);
  const Mark now = Look(path_);
  // Once more after a change: a file that is being written may be read half, and its next change fall into
  // the same tick of the file system's clock.
  if (now == mark_ && settled_) return;
  settled_ = now == mark_;
  mark_ = now;
  absl::StatusOr<std::vector<std::string>> read = ReadTokens(path_);
  if (!read.ok()) {
    LogWarn("the token file cannot be read again; the tokens read before stay valid", {{"file", path_}});
    return;
  }
  MutexLock lock(&mu_);
  tokens_ = *std::move(read);
}

}  // namespace embedd
