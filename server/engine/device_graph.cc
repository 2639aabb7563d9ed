// SPDX-License-Identifier: Apache-2.0

#include "server/engine/device_graph.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <stdexcept>

#include "server/engine/cuda_library.h"

namespace embedd {
namespace {

std::atomic<bool> recording_broke = false;

}  // namespace

struct DeviceGraph::Impl {
  explicit Impl(const CudaGraphClass& functions) : graph(functions) {
    graph.make(object.data(), /*keep_graph=*/false);
  }
  ~Impl() { graph.destroy(object.data()); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const CudaGraphClass graph;
  alignas(std::max_align_t) std::array<std::byte, CudaGraphClass::kObjectBytes> object;
};

std::unique_ptr<DeviceGraph::Impl> DeviceGraph::Record(absl::FunctionRef<void()> work,
                                                       const DeviceGraph* pool_of) {
  const std::optional<CudaGraphClass> graph = FindCudaGraph();
  if (!graph.has_value()) throw std::runtime_error("this LibTorch has no graphs of CUDA that are known here");
  if (recording_broke) throw std::runtime_error("an earlier recording of a graph broke");
  auto impl = std::make_unique<Impl>(*graph);
  const auto pool =
      pool_of == nullptr ? CudaGraphClass::Pool(0, 0) : graph->pool(pool_of->impl_->object.data());
  std::exception_ptr failed;
  try {
    graph->capture_begin(impl->object.data(), pool, CudaGraphClass::kThisThread);
    try {
      work();
    } catch (...) {
      failed = std::current_exception();
    }
    graph->capture_end(impl->object.data());
  } catch (...) {
    recording_broke = true;
    if (failed == nullptr) throw;
  }
  if (failed != nullptr) std::rethrow_exception(failed);  // what went wrong first is what matters
  return impl;
}

DeviceGraph::DeviceGraph(absl::FunctionRef<void()> work, const DeviceGraph* pool_of)
    : impl_(Record(work, pool_of)) {}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::Replay() { impl_->graph.replay(impl_->object.data()); }

}  // namespace embedd
