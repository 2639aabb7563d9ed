// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_device.h"

#include <fstream>
#include <string>

#include "server/engine/cpu_features.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The cpu is always there, and an unknown name is no device") {
  CHECK(DeviceAvailable("cpu").ok());
  CHECK(*ResolveDevice("cpu") == "cpu");
  CHECK(ResolveDevice("tpu").status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("A device that is not there says what is missing") {
  for (const char* device : {"cuda", "mps"}) {
    const absl::Status status = DeviceAvailable(device);
    if (status.ok()) continue;
    CHECK(status.code() == absl::StatusCode::kNotFound);
    CHECK_THAT(std::string(status.message()), ContainsSubstring(std::string("device ") + device + ": "));
    CHECK(ResolveDevice(device).status() == status);
  }
}

TEST_CASE("Auto takes a device that is there") {
  const auto device = ResolveDevice("auto");
  REQUIRE(device.ok());
  CHECK(DeviceAvailable(*device).ok());
}

#ifdef __linux__
TEST_CASE("A start on the cpu loads no CUDA library") {
  if (DeviceAvailable("cuda").ok()) return;  // a machine with a GPU has loaded them for the test above
  std::ifstream maps("/proc/self/maps");
  const std::string text((std::istreambuf_iterator<char>(maps)), std::istreambuf_iterator<char>());
  CHECK_THAT(text, ContainsSubstring("libtorch_cpu"));
  CHECK_THAT(text, !ContainsSubstring("libtorch_cuda"));
}
#endif

TEST_CASE("The dtype is what was asked for; auto is f16 on GPUs and f32 or bf16 on the cpu") {
  const TowerConfig small = {.width = 128, .heads = 2}, tower = {.width = 512, .heads = 8, .mlp_width = 512};
  CHECK(*ResolveDtype("bf16", "cpu", tower) == "bf16");
  CHECK(*ResolveDtype("auto", "mps", tower) == "f16");
  CHECK(*ResolveDtype("auto", "cuda", tower) == "f16");
  CHECK(*ResolveDtype("auto", "cpu", small) == "f32");
  const std::string cpu = *ResolveDtype("auto", "cpu", tower);
  CHECK((cpu == "f32" || (cpu == "bf16" && CpuHasAny({"amx_bf16"}))));
  CHECK(ResolveDtype("int4", "cpu", tower).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace embedd
