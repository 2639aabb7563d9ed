// SPDX-License-Identifier: Apache-2.0

#include "server/release/machine_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST_CASE("the machine has memory, and this process takes less than all of it") {
  CHECK(MachineMemory() > 64 * kMiB);
  CHECK(ProcessFootprint() > 0);
  CHECK(ProcessFootprint() < MachineMemory());
}

TEST_CASE("the footprint sees memory come and go") {
  constexpr size_t kBytes = 64 << 20;
  const int64_t before = ProcessFootprint();
  void* block = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  REQUIRE(block != MAP_FAILED);
  std::memset(block, 1, kBytes);
  CHECK(ProcessFootprint() - before > 60 * kMiB);
  munmap(block, kBytes);
  CHECK(ProcessFootprint() - before < 4 * kMiB);
}

TEST_CASE("the tightest control group binds, of this process's and of all above it") {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("embedd_cgroup_" + std::to_string(getpid()));
  std::filesystem::create_directories(root / "system.slice/embedd.service");
  std::ofstream(root / "self") << "0::/system.slice/embedd.service\n";
  const std::string self = (root / "self").string();
  CHECK(CgroupMemoryLimit(root.string(), self) == 0);
  std::ofstream(root / "memory.max") << "max\n";
  std::ofstream(root / "system.slice/embedd.service/memory.max") << 800 * kMiB << "\n";
  CHECK(CgroupMemoryLimit(root.string(), self) == 800 * kMiB);
  std::ofstream(root / "system.slice/memory.max") << 500 * kMiB << "\n";
  CHECK(CgroupMemoryLimit(root.string(), self) == 500 * kMiB);
  CHECK(CgroupMemoryLimit((root / "nowhere").string(), "/nowhere") == 0);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace embedd
