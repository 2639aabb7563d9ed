// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_library.h"

#include <dlfcn.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/engine/torch_error.h"
#include "server/support/log.h"
#include "server/support/mutex.h"

namespace embedd {
namespace {

// Sets `function` to what the loaded libraries call `name`; false where nothing is called so.
template <typename Function>
bool Find(const std::string& name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name.c_str()));
  return *function != nullptr;
}

// As the C++ ABI of Linux spells a member of at::cuda::CUDAGraph.
std::string Member(const char* rest) { return absl::StrCat("_ZN2at4cuda9CUDAGraph", rest); }

Mutex shares_mu;
int shares ABSL_GUARDED_BY(shares_mu) = 0;

}  // namespace

std::optional<CudaGraphClass> FindCudaGraph() {
  CudaGraphClass graph;
  const bool all = Find(Member("C1Eb"), &graph.make) && Find(Member("D1Ev"), &graph.destroy) &&
                   Find(Member("13capture_beginESt4pairIyyE21cudaStreamCaptureMode"), &graph.capture_begin) &&
                   Find(Member("11capture_endEv"), &graph.capture_end) &&
                   Find(Member("6replayEv"), &graph.replay) && Find(Member("4poolEv"), &graph.pool);
  return all ? std::optional(graph) : std::nullopt;
}

WorkspaceShare::WorkspaceShare() {
  MutexLock lock(&shares_mu);
  ++shares;
}

WorkspaceShare::~WorkspaceShare() {
  // Under the lock: who takes the next share comes after.
  MutexLock lock(&shares_mu);
  if (--shares > 0) return;
  void (*clear)() = nullptr;
  if (!Find("_ZN2at4cuda21clearCublasWorkspacesEv", &clear)) return;
  const absl::Status status = CatchTorch([clear] { clear(); });
  if (!status.ok()) LogWarn("cuBLAS keeps its workspaces", {{"error", std::string(status.message())}});
}

}  // namespace embedd
