// SPDX-License-Identifier: Apache-2.0

#include "server/release/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

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

int64_t MachineMemory() {
#ifdef __APPLE__
  int64_t bytes = 0;
  size_t size = sizeof(bytes);
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
#else
  const int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? pages * page : 0;
#endif
}

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

int64_t ProcessFootprint() {
#ifdef __APPLE__
  task_vm_info_data_t info;
  mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
  if (task_info(mach_task_self(), TASK_VM_INFO, reinterpret_cast<task_info_t>(&info), &count) !=
      KERN_SUCCESS) {
    return 0;
  }
  return static_cast<int64_t>(info.phys_footprint);
#else
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string word;
  while (rollup >> word) {
    int64_t kib = 0;
    if (word == "Pss:" && rollup >> kib) return kib * 1024;
  }
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  return statm >> total >> resident ? resident * sysconf(_SC_PAGESIZE) : 0;
#endif
}

}  // namespace embedd
