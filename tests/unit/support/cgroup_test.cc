// SPDX-License-Identifier: Apache-2.0

#include "server/support/cgroup.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

class Groups {
 public:
  Groups() {
    std::filesystem::create_directories(root_ / "system.slice/embedd.service");
    std::filesystem::create_directories(root_ / "cpu");
    Write("self", "0::/system.slice/embedd.service");
  }
  ~Groups() { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    std::ofstream(root_ / file) << text << "\n";
  }
  CgroupFiles files() const { return {.root = root_.string(), .self = (root_ / "self").string()}; }

 private:
  const std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("embedd_cgroup_" + std::to_string(getpid()));
};

TEST_CASE("the tightest memory limit binds, of this process's group and of all above it") {
  Groups groups;
  CHECK(CgroupMemoryLimit(groups.files()) == 0);
  groups.Write("memory.max", "max");
  groups.Write("system.slice/embedd.service/memory.max", std::to_string(800 * kMiB));
  CHECK(CgroupMemoryLimit(groups.files()) == 800 * kMiB);
  groups.Write("system.slice/memory.max", std::to_string(500 * kMiB));
  CHECK(CgroupMemoryLimit(groups.files()) == 500 * kMiB);
  CHECK(CgroupMemoryLimit({.root = "/nowhere", .self = "/nowhere"}) == 0);
}

TEST_CASE("a quota of processor time counts in whole processors, rounded up") {
  Groups groups;
  CHECK(CgroupCores(groups.files()) == 0);
  groups.Write("cpu.max", "max 100000");
  CHECK(CgroupCores(groups.files()) == 0);
  groups.Write("system.slice/cpu.max", "350000 100000");
  CHECK(CgroupCores(groups.files()) == 4);
  groups.Write("system.slice/embedd.service/cpu.max", "50000 100000");
  CHECK(CgroupCores(groups.files()) == 1);
  CHECK(UsableCores(groups.files()) == 1);
}

TEST_CASE("version 1 keeps quota and period apart, and -1 is none") {
  Groups groups;
  groups.Write("cpu/cpu.cfs_period_us", "100000");
  groups.Write("cpu/cpu.cfs_quota_us", "-1");
  CHECK(CgroupCores(groups.files()) == 0);
  CHECK(UsableCores(groups.files()) >= 1);
  groups.Write("cpu/cpu.cfs_quota_us", "150000");
  CHECK(CgroupCores(groups.files()) == 2);
}

}  // namespace
}  // namespace embedd
