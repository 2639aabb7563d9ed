// SPDX-License-Identifier: Apache-2.0

#include "server/release/cgroup_memory.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

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
