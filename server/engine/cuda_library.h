// SPDX-License-Identifier: Apache-2.0
//
// What the engine needs of LibTorch's CUDA library beyond LibTorch's general interfaces. That library is
// loaded when a card is asked for, never linked, and its headers need CUDA's: so these functions are found by
// their names. Used by DeviceGraph and TorchExecutor; sees no CUDA.

#pragma once

#include <cstddef>
#include <optional>
#include <utility>

namespace embedd {

// at::cuda::CUDAGraph, member by member: each takes the object first. LibTorch's general interface to graphs
// (at::GraphImplInterface) has none of CUDA's behind it up to 2.13.
struct CudaGraphClass {
  using Pool = std::pair<unsigned long long, unsigned long long>;

  // More than any version needs: 104 bytes in 2.11, 344 in 2.13.
  static constexpr size_t kObjectBytes = 4096;
  // cudaStreamCaptureModeThreadLocal: other threads may go on using CUDA.
  static constexpr unsigned kThisThread = 1;

  void (*make)(void* object, bool keep_graph) = nullptr;
  void (*destroy)(void* object) = nullptr;
  void (*capture_begin)(void* object, Pool pool, unsigned mode) = nullptr;
  void (*capture_end)(void* object) = nullptr;
  void (*replay)(void* object) = nullptr;
  Pool (*pool)(void* object) = nullptr;
};

// None where the library is not loaded, or is a version that has it under other names.
std::optional<CudaGraphClass> FindCudaGraph();

// A share in the workspaces of cuBLAS: tens of megabytes, which its first product on a card takes and keeps,
// and which products under way and recorded graphs go on using. LibTorch can only drop those of all cards
// and threads at once: whoever gives back the last share does. Hold one before the first product. Where the
// function is not found they stay. Thread-safe.
class WorkspaceShare {
 public:
  WorkspaceShare();
  ~WorkspaceShare();
  WorkspaceShare(const WorkspaceShare&) = delete;
  WorkspaceShare& operator=(const WorkspaceShare&) = delete;
};

}  // namespace embedd
