// SPDX-License-Identifier: Apache-2.0

#include "server/support/cgroup.h"

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// The number in `path`, 0 when there is no file or no number ("max", or -1 for no quota).
int64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  int64_t limit = 0;
  if (!(file >> text) || !absl::SimpleAtoi(text, &limit)) return 0;
  // Version 1 writes "no limit" as a number near 2^63.
  return limit >= (int64_t{1} << 60) ? 0 : std::max<int64_t>(0, limit);
}

// The first two numbers of version 2's cpu.max are quota and period; version 1 has a file for each.
int64_t ReadCores(const std::string& folder) {
  int64_t quota = 0, period = 0;
  std::string first;
  if (std::ifstream file(absl::StrCat(folder, "/cpu.max")); file >> first >> period) {
    if (!absl::SimpleAtoi(first, &quota)) return 0;
  } else {
    quota = ReadLimit(absl::StrCat(folder, "/cpu.cfs_quota_us"));
    period = ReadLimit(absl::StrCat(folder, "/cpu.cfs_period_us"));
  }
  return quota <= 0 || period <= 0 ? 0 : (quota + period - 1) / period;
}

int64_t Tighter(int64_t a, int64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// This process's group and all above it below the root: a limit of any of them binds too.
std::vector<std::string> Groups(const CgroupFiles& files) {
  std::vector<std::string> groups;
  std::ifstream self(files.self);
  std::string line;
  while (std::getline(self, line)) {
    if (!absl::StartsWith(line, "0::/")) continue;
    for (std::string group = line.substr(3); group.size() > 1; group = group.substr(0, group.rfind('/'))) {
      groups.push_back(files.root + group);
    }
  }
  return groups;
}

}  // namespace

int64_t CgroupMemoryLimit(const CgroupFiles& files) {
  int64_t limit = Tighter(ReadLimit(absl::StrCat(files.root, "/memory.max")),
                          ReadLimit(absl::StrCat(files.root, "/memory/memory.limit_in_bytes")));
  for (const std::string& group : Groups(files))
    limit = Tighter(limit, ReadLimit(absl::StrCat(group, "/memory.max")));
  return limit;
}

int CgroupCores(const CgroupFiles& files) {
  int64_t cores = Tighter(ReadCores(files.root), ReadCores(absl::StrCat(files.root, "/cpu")));
  for (const std::string& group : Groups(files)) cores = Tighter(cores, ReadCores(group));
  return static_cast<int>(std::min<int64_t>(cores, 1 << 20));
}

int UsableCores(const CgroupFiles& files) {
  const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int quota = CgroupCores(files);
  return quota == 0 ? processors : std::min(quota, processors);
}

}  // namespace embedd
