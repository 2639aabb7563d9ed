// SPDX-License-Identifier: Apache-2.0

#include "server/release/cgroup_memory.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// The number in `path`, 0 when there is no file or no number ("max").
int64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  int64_t bytes = 0;
  if (!(file >> text) || !absl::SimpleAtoi(text, &bytes)) return 0;
  // Version 1 writes "no limit" as a number near 2^63.
  return bytes >= (int64_t{1} << 60) ? 0 : bytes;
}

int64_t Tighter(int64_t a, int64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

}  // namespace

int64_t CgroupMemoryLimit(const std::string& root, const std::string& self) {
  int64_t limit = Tighter(ReadLimit(absl::StrCat(root, "/memory.max")),
                          ReadLimit(absl::StrCat(root, "/memory/memory.limit_in_bytes")));
  std::ifstream groups(self);
  std::string line;
  while (std::getline(groups, line)) {
    if (!absl::StartsWith(line, "0::/")) continue;
    // A limit of any ancestor binds too.
    for (std::string group = line.substr(3); group.size() > 1; group = group.substr(0, group.rfind('/'))) {
      limit = Tighter(limit, ReadLimit(absl::StrCat(root, group, "/memory.max")));
    }
  }
  return limit;
}

}  // namespace embedd
