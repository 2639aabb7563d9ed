// SPDX-License-Identifier: Apache-2.0
//
// What the server finds by name in LibTorch's CUDA library is there, in the version that it is built with.

#include "server/engine/cuda_library.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <filesystem>
#include <string>

#include "server/engine/device_graph.h"
#include "server/engine/torch_error.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

// Beside the library that this program is linked with; loaded, it needs no card.
std::filesystem::path CudaLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&at::detail::getCUDAHooks), &info) == 0) return {};
  return std::filesystem::path(info.dli_fname).parent_path() / "libtorch_cuda.so";
}

TEST_CASE("LibTorch's CUDA library has graphs and workspaces under the names that the server knows") {
  CHECK_FALSE(FindCudaGraph().has_value());
  const std::string library = CudaLibrary();
  if (!std::filesystem::exists(library)) SUCCEED("this LibTorch is built without CUDA");
  if (!std::filesystem::exists(library)) return;
  const void* const loaded = dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
  INFO((loaded == nullptr ? dlerror() : ""));
  REQUIRE(loaded != nullptr);
  REQUIRE(FindCudaGraph().has_value());
  CHECK(dlsym(RTLD_DEFAULT, "_ZN2at4cuda21clearCublasWorkspacesEv") != nullptr);

  // Without a driver its own words say so; with one, that the default stream cannot be recorded.
  const absl::Status status = CatchTorch([] { const DeviceGraph graph([] {}, nullptr); });
  INFO(status);
  CHECK_FALSE(status.ok());
  CHECK_THAT(std::string(status.message()),
             ContainsSubstring("driver") || ContainsSubstring("non-default stream"));
}

}  // namespace
}  // namespace embedd
