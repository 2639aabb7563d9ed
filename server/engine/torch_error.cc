// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_error.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// LibTorch throws a type of its own for CUDA and for our CPU cap; MPS, Metal and the system allocator only
// say it.
constexpr absl::string_view kOutOfMemory[] = {
    "MPS backend out of memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "not enough memory",
    "can't allocate memory",
    "kIOGPUCommandBufferCallbackErrorOutOfMemory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "Failed to allocate private MTLBuffer",
    "std::bad_alloc",
    "cannot allocate memory",
};

// After one of these every later call on the device fails as well.
constexpr absl::string_view kLost[] = {
    "device-side assert triggered",
    "unspecified launch failure",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "misaligned address",
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "GPU memory over nvlink or a hardware error",
    "hardware stack error",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "tensor memory not completely freed",
    "context is destroyed",
    "no CUDA-capable device is detected",
    "CUDA error: unknown error",
    "the launch timed out and was terminated",
    "driver shutting down",
    "device(s) is/are busy or unavailable",
    "GPU is lost",
    "GPU has fallen off the bus",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "command buffer exited with error status",
    "kIOGPUCommandBufferCallbackError",
    "IOGPUCommandQueueErrorDomain",
    "Caused GPU Timeout Error",
};

template <size_t N>
bool ContainsAny(absl::string_view text, const absl::string_view (&patterns)[N]) {
  for (absl::string_view pattern : patterns) {
    if (absl::StrContains(text, pattern)) return true;
  }
  return false;
}

}  // namespace

absl::Status ClassifyTorchError(absl::string_view message, bool out_of_memory) {
  if (out_of_memory || ContainsAny(message, kOutOfMemory)) return absl::ResourceExhaustedError(message);
  if (ContainsAny(message, kLost)) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

absl::Status CatchTorch(absl::FunctionRef<void()> work) {
  std::string message;
  bool out_of_memory = false;
  try {
    work();
    return absl::OkStatus();
  } catch (const c10::OutOfMemoryError& e) {
    message = e.what_without_backtrace();
    out_of_memory = true;
  } catch (const c10::Error& e) {
    message = e.what_without_backtrace();
  } catch (const std::bad_alloc& e) {
    message = "out of host memory";
    out_of_memory = true;
  } catch (const std::exception& e) {
    message = e.what();
  } catch (...) {
    message = "an exception of unknown type";
  }
  return ClassifyTorchError(message, out_of_memory);
}

}  // namespace embedd
