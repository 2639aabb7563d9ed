// SPDX-License-Identifier: Apache-2.0
//
// What the operating system says about memory: of the machine and of this process. Reads small files or makes
// one system call; keeps nothing. Thread-safe.

#pragma once

#include <cstdint>
#include <string>

namespace embedd {

// Bytes of memory in the machine. 0 when the system does not say.
int64_t MachineMemory();

// The smallest memory limit of the control groups this process is in (Linux; a container's limit is one). 0 =
// none. `root` is where the groups are mounted and `self` the file that names this process's group: tests
// pass their own.
int64_t CgroupMemoryLimit(const std::string& root = "/sys/fs/cgroup",
                          const std::string& self = "/proc/self/cgroup");

// What the process costs the machine: phys_footprint on macOS, which unlike resident size counts memory that
// Metal holds; proportional set size on Linux, or resident size where the kernel does not say it. 0 when
// unknown.
int64_t ProcessFootprint();

}  // namespace embedd
