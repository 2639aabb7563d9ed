// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_device_memory.h"

#include <ATen/ATen.h>

#include <fstream>
#include <string>

#include "server/support/process.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

bool CudaLibrariesLoaded() {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    // libcudart may be there: libtorch_cpu of a CUDA wheel links it for its profiler.
    if (line.find("libtorch_cuda") != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("cpu: the limit is 0.8 of what the machine or the control group has, unless one is given") {
  auto memory = CreateTorchDeviceMemory(DeviceKind::kCpu, 0);
  REQUIRE(memory.ok());
  const MemoryReading reading = (*memory)->Read();
  CHECK(reading.limit == reading.recommended);
  CHECK(reading.limit <= MachineMemoryBytes() * 8 / 10 + 1);
  CHECK(reading.limit > 0);
  auto limited = CreateTorchDeviceMemory(DeviceKind::kCpu, 100 * kMiB);
  REQUIRE(limited.ok());
  CHECK((*limited)->Read().limit == 100 * kMiB);
  CHECK_THROWS(at::empty({200 * kMiB}, at::kByte));
  REQUIRE((*limited)->ChangeLimit(400 * kMiB).ok());
  CHECK_NOTHROW(at::empty({200 * kMiB}, at::kByte));
  CHECK(absl::IsInvalidArgument((*limited)->ChangeLimit(-1)));
  REQUIRE((*limited)->ChangeLimit(reading.recommended).ok());
}

TEST_CASE("cpu: a limit above the machine's memory is cut to it") {
  auto memory = CreateTorchDeviceMemory(DeviceKind::kCpu, int64_t{1} << 50);
  REQUIRE(memory.ok());
  CHECK((*memory)->Read().limit <= MachineMemoryBytes());
}

TEST_CASE("cpu: readings follow tensors; trimming empties the cache; the counters are sane") {
  auto created = CreateTorchDeviceMemory(DeviceKind::kCpu, 0);
  REQUIRE(created.ok());
  DeviceMemory& memory = **created;
  memory.Trim();
  memory.ResetPeak();
  const int64_t before = memory.Read().allocated;
  { const at::Tensor t = at::empty({64 * kMiB}, at::kByte); }
  MemoryReading reading = memory.Read();
  CHECK(reading.allocated == before);
  CHECK(reading.peak == before + 64 * kMiB);
  CHECK(reading.reserved >= before + 64 * kMiB);
  CHECK(reading.driver == reading.reserved);
  CHECK(memory.CheckSane().ok());
  memory.Trim();
  CHECK(memory.Read().reserved == before);
  memory.DropCompiledGraphs();  // nothing to drop, nothing to fail
}

TEST_CASE("a start without cuda loads no CUDA library") {
  REQUIRE(CreateTorchDeviceMemory(DeviceKind::kCpu, 0).ok());
  CHECK_FALSE(CudaLibrariesLoaded());
}

TEST_CASE("what is not there is said, with the reason") {
  CHECK(absl::IsInvalidArgument(CreateTorchDeviceMemory(DeviceKind::kAuto, 0).status()));
  CHECK(absl::IsInvalidArgument(CreateTorchDeviceMemory(DeviceKind::kCpu, -1).status()));
#ifndef __APPLE__
  CHECK(absl::IsUnavailable(CreateTorchDeviceMemory(DeviceKind::kMps, 0).status()));
#endif
  CHECK(absl::IsUnavailable(
      CreateTorchDeviceMemory(DeviceKind::kCuda, 0).status()));  // its library was not loaded
}

}  // namespace
}  // namespace embedd
