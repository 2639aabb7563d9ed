// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_device.h"

#include <fstream>
#include <string>

#include "server/engine/cpu_features.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The cpu is always there") {
  CHECK(DeviceAvailable(DeviceKind::kCpu).ok());
  CHECK(*ResolveDevice(DeviceKind::kCpu) == DeviceKind::kCpu);
}

TEST_CASE("A device that is not there says what is missing") {
  for (const DeviceKind device : {DeviceKind::kCuda, DeviceKind::kMps}) {
    const absl::Status status = DeviceAvailable(device);
    if (status.ok()) continue;
    CHECK(status.code() == absl::StatusCode::kNotFound);
    CHECK_THAT(std::string(status.message()),
               ContainsSubstring(absl::StrCat("device ", DeviceWord(device), ": ")));
    CHECK(ResolveDevice(device).status() == status);
  }
}

TEST_CASE("Auto takes a device that is there") {
  const auto device = ResolveDevice(DeviceKind::kAuto);
  REQUIRE(device.ok());
  CHECK(*device != DeviceKind::kAuto);
  CHECK(DeviceAvailable(*device).ok());
}

#ifdef __linux__
TEST_CASE("A start on the cpu loads no CUDA library") {
  if (DeviceAvailable(DeviceKind::kCuda).ok())
    return;  // a machine with a GPU has loaded them for the test above
  std::ifstream maps("/proc/self/maps");
  const std::string text((std::istreambuf_iterator<char>(maps)), std::istreambuf_iterator<char>());
  CHECK_THAT(text, ContainsSubstring("libtorch_cpu"));
  CHECK_THAT(text, !ContainsSubstring("libtorch_cuda"));
}
#endif

TEST_CASE("The dtype is what was asked for; auto is f16 on GPUs and f32 or bf16 on the cpu") {
  const TowerConfig small = {.width = 128, .heads = 2}, tower = {.width = 512, .heads = 8, .mlp_width = 512};
  CHECK(*ResolveDtype(Dtype::kBf16, DeviceKind::kCpu, tower) == Dtype::kBf16);
  CHECK(*ResolveDtype(Dtype::kAuto, DeviceKind::kMps, tower) == Dtype::kF16);
  CHECK(*ResolveDtype(Dtype::kAuto, DeviceKind::kCuda, tower) == Dtype::kF16);
  CHECK(*ResolveDtype(Dtype::kAuto, DeviceKind::kCpu, small) == Dtype::kF32);
  const Dtype cpu = *ResolveDtype(Dtype::kAuto, DeviceKind::kCpu, tower);
  CHECK((cpu == Dtype::kF32 || (cpu == Dtype::kBf16 && CpuHasAny({"amx_bf16"}))));
}

}  // namespace
}  // namespace embedd
