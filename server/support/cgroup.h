// SPDX-License-Identifier: Apache-2.0
//
// What Linux's control groups grant this process; a container's limits are such. Reads small files; keeps
// nothing. Thread-safe.

#pragma once

#include <cstdint>
#include <string>

namespace embedd {

// Where the groups are mounted, and the file that names this process's group: tests pass their own.
struct CgroupFiles {
  std::string root = "/sys/fs/cgroup";
  std::string self = "/proc/self/cgroup";
};

// The smallest memory limit of the groups this process is in, in bytes; 0 = none.
int64_t CgroupMemoryLimit(const CgroupFiles& files = {});

// Processors' worth of time that the groups grant, rounded up; 0 = no quota.
int CgroupCores(const CgroupFiles& files = {});

// How many threads can run at once: processors this process may run on, or the quota where that is less. At
// least 1.
int UsableCores(const CgroupFiles& files = {});

}  // namespace embedd
