// SPDX-License-Identifier: Apache-2.0

#include "server/engine/torch_device.h"

#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/headeronly/version.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/cpu_features.h"
#include "server/engine/layout_choice.h"
#include "server/engine/torch_error.h"

namespace embedd {
namespace {

// The folder LibTorch was loaded from.
std::filesystem::path LibTorchFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&at::detail::getCUDAHooks), &info) == 0) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

// The CUDA half of LibTorch is not linked: it takes over a gigabyte of address space and seconds to load.
// Loading it registers its kernels and hooks, which LibTorch looks for once, on first use.
absl::Status LoadCuda() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) == nullptr) {
    return absl::NotFoundError("device cuda: there is no NVIDIA driver on this machine (libcuda.so.1)");
  }
  const std::filesystem::path library = LibTorchFolder() / "libtorch_cuda.so";
  std::error_code error;
  if (!std::filesystem::exists(library, error)) {
    return absl::NotFoundError(
        absl::StrCat("device cuda: this LibTorch is built without CUDA (", library.string(), " is missing)"));
  }
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return absl::NotFoundError(absl::StrCat("device cuda: ", dlerror()));
  }
  int devices = 0;
  if (absl::Status s = CatchTorch([&] { devices = at::detail::getCUDAHooks().deviceCount(); }); !s.ok()) {
    return absl::NotFoundError(absl::StrCat("device cuda: ", s.message()));
  }
  if (devices < 1) return absl::NotFoundError("device cuda: the driver reports no GPU");
  return absl::OkStatus();
}

absl::Status CheckMps() {
  bool available = false;
  const absl::Status status = CatchTorch([&] { available = at::detail::getMPSHooks().hasMPS(); });
  if (status.ok() && available) return absl::OkStatus();
  return absl::NotFoundError("device mps: needs a Mac with Apple silicon and a LibTorch built with MPS");
}

// What the loaded library says about itself; the version macros are those of the headers.
LibTorchRelease LoadedRelease() {
  const uint64_t version = aoti_torch_abi_version();
  return {static_cast<int>(version >> 56), static_cast<int>(version >> 48 & 255),
          static_cast<int>(version >> 40 & 255)};
}

std::string Text(LibTorchRelease release) {
  return absl::StrCat(release.major, ".", release.minor, ".", release.patch);
}

// Other numbers and another fingerprint must be worth it, and a server must not start with the one today and
// with the other tomorrow, because the machine was busy while it measured. So only AMX is asked, which gains
// several times what is needed, and not AVX-512 BF16, which gains up to twice; nor small towers, whose
// measurement is mostly noise.
bool Bf16IsMuchFaster(const TowerConfig& config) {
  constexpr int kSmallWidth = 512;
  if (!CpuHasAny({"amx_bf16"}) || config.width < kSmallWidth) return false;
  const double f32 = MeasureLayouts(config, at::kFloat).microseconds_per_token;
  const double bf16 = MeasureLayouts(config, at::kBFloat16).microseconds_per_token;
  return bf16 > 0 && 2 * bf16 < f32;
}

}  // namespace

absl::Status DeviceAvailable(DeviceKind device) {
  if (device == DeviceKind::kMps) return CheckMps();
  if (device != DeviceKind::kCuda) return absl::OkStatus();
  static const auto* const kCuda = new absl::Status(LoadCuda());
  return *kCuda;
}

absl::StatusOr<DeviceKind> ResolveDevice(DeviceKind device) {
  if (device == DeviceKind::kAuto) {
    for (const DeviceKindRow& row : kDeviceKinds) {
      if (row.value != DeviceKind::kAuto && DeviceAvailable(row.value).ok()) return row.value;
    }
  }
  if (absl::Status status = DeviceAvailable(device); !status.ok()) return status;
  return device;
}

absl::Status CheckDtype(Dtype dtype, DeviceKind device, bool cpu_multiplies_int8) {
  if (dtype != Dtype::kInt8) return absl::OkStatus();
  if (device != DeviceKind::kCpu) {
    return absl::InvalidArgumentError(absl::StrCat("dtype int8 runs on the cpu only, not on ",
                                                   DeviceWord(device), "; use --dtype f16, or --device cpu"));
  }
  if (cpu_multiplies_int8) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "dtype int8 needs a processor that multiplies bytes (AVX-512 VNNI, AVX VNNI or AMX), and this one does "
      "not; use --dtype f32 or auto");
}

absl::StatusOr<Dtype> ResolveDtype(Dtype dtype, DeviceKind device, const TowerConfig& config) {
  if (dtype != Dtype::kAuto) return dtype;
  if (device != DeviceKind::kCpu) return Dtype::kF16;
  bool bf16 = false;
  if (absl::Status status = CatchTorch([&] { bf16 = Bf16IsMuchFaster(config); }); !status.ok()) return status;
  return bf16 ? Dtype::kBf16 : Dtype::kF32;
}

std::string LibTorchVersion() { return Text(LoadedRelease()); }

absl::Status CheckLibTorch() {
  return CheckLibTorchVersions({TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH},
                               LoadedRelease());
}

absl::Status CheckLibTorchVersions(LibTorchRelease built, LibTorchRelease loaded) {
#ifdef EMBEDD_OLDER_LIBTORCH
  constexpr std::pair kOldest(2, 11);
#else
  constexpr std::pair kOldest(2, 13);
#endif
  if (std::pair(loaded.major, loaded.minor) < kOldest) {
    return absl::FailedPreconditionError(
        absl::StrCat("LibTorch ", Text(loaded),
                     " is too old: from 2.13 on the MPS allocator is a c10::DeviceAllocator, so "
                     "that its memory can be measured"));
  }
  if (built.major != loaded.major || built.minor != loaded.minor) {
    return absl::FailedPreconditionError(
        absl::StrCat("embedd was built with LibTorch ", Text(built), " and finds ", Text(loaded),
                     ": its C++ interface changes between versions; build it again (docs/upgrading.md)"));
  }
  return absl::OkStatus();
}

}  // namespace embedd
