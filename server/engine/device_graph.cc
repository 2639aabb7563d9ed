// SPDX-License-Identifier: Apache-2.0

#include "server/engine/device_graph.h"

#include <c10/core/Allocator.h>
#include <c10/core/DeviceType.h>

#include <stdexcept>

#if !defined(EMBEDD_OLDER_LIBTORCH)
#include <ATen/core/GraphImplInterface.h>
#elif defined(EMBEDD_CUDA_HEADERS)
#include <ATen/cuda/CUDAGraph.h>
#endif

namespace embedd {

#if !defined(EMBEDD_OLDER_LIBTORCH)
struct DeviceGraph::Impl {
  std::unique_ptr<at::GraphImplInterface> graph;
  static std::unique_ptr<at::GraphImplInterface> Make() {
    return at::has_graph_impl(c10::DeviceType::CUDA) ? at::create_graph_impl(c10::DeviceType::CUDA) : nullptr;
  }
  static constexpr auto kMode = at::GraphCaptureMode::ThreadLocal;
};
#elif defined(EMBEDD_CUDA_HEADERS)
// Before 2.13 only the class of the CUDA library, which scripts/cuda-acceptance links for this.
struct DeviceGraph::Impl {
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  static std::unique_ptr<at::cuda::CUDAGraph> Make() { return std::make_unique<at::cuda::CUDAGraph>(); }
  static constexpr auto kMode = cudaStreamCaptureModeThreadLocal;
};
#else
namespace {
struct NoGraph {
  void capture_begin(c10::MempoolId_t, int) {}
  void capture_end() {}
  void replay() {}
  c10::MempoolId_t pool() { return {0, 0}; }
};
}  // namespace
struct DeviceGraph::Impl {
  std::unique_ptr<NoGraph> graph;
  static std::unique_ptr<NoGraph> Make() { return nullptr; }
  static constexpr int kMode = 0;
};
#endif

DeviceGraph::DeviceGraph(absl::FunctionRef<void()> work, const DeviceGraph* pool_of)
    : impl_(std::make_unique<Impl>()) {
  impl_->graph = Impl::Make();
  if (impl_->graph == nullptr) throw std::runtime_error("this LibTorch records no graphs of CUDA");
  const c10::MempoolId_t pool = pool_of == nullptr ? c10::MempoolId_t{0, 0} : pool_of->impl_->graph->pool();
  // The watchdog and other servers' threads may call CUDA meanwhile: only this thread's calls are recorded.
  impl_->graph->capture_begin(pool, Impl::kMode);
  try {
    work();
  } catch (...) {
    try {
      impl_->graph->capture_end();
    } catch (...) {  // what went wrong first is what matters
    }
    throw;
  }
  impl_->graph->capture_end();
}

DeviceGraph::~DeviceGraph() = default;

void DeviceGraph::Replay() { impl_->graph->replay(); }

}  // namespace embedd
