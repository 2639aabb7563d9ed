// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_error.h"

#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

absl::StatusCode CodeOf(const std::string& message) { return ClassifyTorchError(message, false).code(); }

TEST_CASE("Out of memory is recognised on every device") {
  for (const char* message :
       {"MPS backend out of memory (MPS allocated: 1.49 GiB, other allocations: 67108914.49 GiB, max "
        "allowed: 30.19 GiB). "
        "Tried to allocate 9.19 MiB on private pool.",
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        "to allocate "
        "1000000000000 bytes. Error code 12 (Cannot allocate memory)",
        "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"}) {
    CHECK(CodeOf(message) == absl::StatusCode::kResourceExhausted);
  }
  CHECK(ClassifyTorchError("any text", true).code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("A lost device is told apart from a batch that failed") {
  for (const char* message :
       {"CUDA error: device-side assert triggered", "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
        // The others after which CUDA's manual says that the process must end, as libcudart 13 spells them.
        "CUDA error: uncorrectable NVLink error detected during the execution",
        "CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error",
        "CUDA error: invalid program counter",
        "CUDA error: operation not supported on global/shared address space",
        "CUDA error: tensor memory not completely freed", "CUDA error: context is destroyed",
        "CUDA error: no CUDA-capable device is detected", "CUDA error: unknown error",
        "MPSCommandBuffer: command buffer exited with error status"}) {
    CHECK(CodeOf(message) == absl::StatusCode::kUnavailable);
  }
  CHECK(CodeOf("mat1 and mat2 shapes cannot be multiplied (50x768 and 512x768)") ==
        absl::StatusCode::kInternal);
  CHECK(ClassifyTorchError("mat1 and mat2", false).message() == "mat1 and mat2");
}

TEST_CASE("Whatever is thrown becomes a status, and what the work held is gone by then") {
  std::weak_ptr<int> held;
  const absl::Status status = CatchTorch([&] {
    const auto tensor = std::make_shared<int>(1);
    held = tensor;
    throw std::runtime_error("CUDA out of memory");
  });
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(held.expired());
  CHECK(CatchTorch([] { throw std::bad_alloc(); }).code() == absl::StatusCode::kResourceExhausted);
  CHECK(CatchTorch([] { throw 7; }).code() == absl::StatusCode::kInternal);
  CHECK(CatchTorch([] {}).ok());
}

}  // namespace
}  // namespace embedd
