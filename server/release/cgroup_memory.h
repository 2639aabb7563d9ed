// SPDX-License-Identifier: Apache-2.0
//
// The memory limit that Linux's control groups put on this process; a container's limit is one. Reads small
// files; keeps nothing. Thread-safe.

#pragma once

#include <cstdint>
#include <string>

namespace embedd {

// The smallest limit of the groups this process is in, in bytes; 0 = none. `root` is where the groups are
// mounted and `self` the file that names this process's group: tests pass their own.
int64_t CgroupMemoryLimit(const std::string& root = "/sys/fs/cgroup",
                          const std::string& self = "/proc/self/cgroup");

}  // namespace embedd
