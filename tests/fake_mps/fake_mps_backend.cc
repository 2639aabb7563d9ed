// SPDX-License-Identifier: Apache-2.0
//
// Registers FakeMps with LibTorch: hooks under the name that at::detail::getMPSHooks asks for, and the
// allocator of at::kMPS. Linked into a program, it acts before main.

#include <ATen/detail/MPSHooksInterface.h>
#include <ATen/mps/MPSAllocatorInterface.h>
#include <c10/core/Allocator.h>

#include <cstdint>
#include <utility>

#include "tests/fake_mps/fake_mps.h"

namespace embedd {
namespace {

constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

int64_t IdOf(const void* buffer) { return static_cast<int64_t>(reinterpret_cast<uintptr_t>(buffer)); }

// A "buffer" is its id, as a pointer that nobody follows: like an MTLBuffer it is not an address of data.
class FakeMpsAllocator final : public at::mps::IMPSAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::MPS, 0);
    if (bytes == 0) return {nullptr, nullptr, &Delete, device};
    const int64_t id = heaps().Allocate(static_cast<int64_t>(bytes));
    TORCH_CHECK(id != 0, heaps().FailureMessage());
    void* buffer = reinterpret_cast<void*>(static_cast<uintptr_t>(id));
    return {buffer, buffer, &Delete, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }
  void copy_data(void*, const void*, size_t) const override { TORCH_CHECK(false, "no bytes to copy"); }

  bool initialized() override { return FakeMps::Get().started(); }
  void emptyCache(c10::MempoolId_t = {0, 0}) override {
    ++FakeMps::Get().cache_releases;
    heaps().ReleaseCached();
  }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    TORCH_CHECK(!FakeMps::Get().counters_throw, "the device does not answer");
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[kAll].current = heaps().allocated();
    stats.allocated_bytes[kAll].peak = heaps().peak();
    stats.reserved_bytes[kAll].current = heaps().heap_bytes();
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override { heaps().ResetPeak(); }

  void freeInactiveBuffers() const override {}
  ssize_t getUnalignedBufferSize(const void* buffer) const override { return heaps().SizeOf(IdOf(buffer)); }
  at::IntArrayRef getBufferShape(const void*) const override { return {}; }
  id_t getBufferId(const void* buffer) const override { return static_cast<id_t>(IdOf(buffer)); }
  void setBufferShape(const void*, const at::IntArrayRef&) const override {}
  bool isSharedBuffer(const void* buffer) const override { return heaps().SizeOf(IdOf(buffer)) > 0; }
  c10::DataPtr allocScalarBufferWithValue(void*, size_t bytes) const override {
    const int64_t id = heaps().Allocate(static_cast<int64_t>(bytes), /*scalar=*/true);
    TORCH_CHECK(id != 0, heaps().FailureMessage());
    void* buffer = reinterpret_cast<void*>(static_cast<uintptr_t>(id));
    return {buffer, buffer, &Delete, c10::Device(c10::DeviceType::MPS, 0)};
  }
  std::string formatSize(size_t size) const override { return FormatMemorySize(size); }
  void setLowWatermarkRatio(double ratio) const override { FakeMps::Get().SetLow(ratio); }
  void setHighWatermarkRatio(double ratio) const override { FakeMps::Get().SetHigh(ratio); }
  ssize_t getLowWatermarkValue() const override { return 0; }
  size_t getLowWatermarkLimit() const override {
    return static_cast<size_t>(heaps().options().low_ratio *
                               static_cast<double>(FakeMps::Get().recommended()));
  }
  size_t getHighWatermarkLimit() const override { return static_cast<size_t>(heaps().high_limit()); }
  size_t getTotalAllocatedMemory() const override { return static_cast<size_t>(heaps().heap_bytes()); }
  size_t getCurrentAllocatedMemory() const override { return static_cast<size_t>(heaps().allocated()); }
  size_t getDriverAllocatedMemory() const override { return heaps().driver(); }
  size_t getRecommendedMaxMemory() const override {
    FakeMps::Get().Start();
    return static_cast<size_t>(FakeMps::Get().recommended());
  }
  std::pair<const void*, uint32_t> getSharedBufferPtr(const void* buffer) const override {
    return {FakeMps::Get().HostContents(IdOf(buffer)), 1};
  }
  c10::Storage getHostAliasStorage(const c10::Storage& storage) const override {
    void* contents = FakeMps::Get().HostContents(IdOf(storage.data()));
    auto* keep = new c10::Storage(storage);
    return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(),
                        c10::DataPtr(
                            contents, keep, [](void* s) { delete static_cast<c10::Storage*>(s); },
                            c10::Device(c10::DeviceType::CPU)),
                        nullptr, false);
  }
  bool recordEvents(c10::ArrayRef<const void*>) const override { return false; }
  bool waitForEvents(c10::ArrayRef<const void*>) const override { return false; }

 private:
  static FakeMpsHeaps& heaps() { return FakeMps::Get().heaps(); }
  static void Delete(void* buffer) {
    if (buffer == nullptr) return;
    FakeMps::Get().ForgetContents(IdOf(buffer));
    heaps().Free(IdOf(buffer));
  }
};

FakeMpsAllocator& Allocator() {
  static FakeMpsAllocator* const instance = new FakeMpsAllocator;
  return *instance;
}

const c10::AllocatorRegisterer<c10::DeviceType::MPS> kRegistered(&Allocator());

}  // namespace
}  // namespace embedd

namespace at {

struct FakeMPSHooks final : MPSHooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasMPS() const override { return true; }
  void init() const override {}
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  Allocator* getMPSDeviceAllocator() const override { return c10::GetAllocator(c10::DeviceType::MPS); }
  void deviceSynchronize() const override {}
  // From 2.13 on: the allocator's cache, and every compiled graph.
  void emptyCache() const override {
    embedd::FakeMps::Get().heaps().ReleaseCached();
    embedd::FakeMps::Get().DropGraphs();
  }
  size_t getCurrentAllocatedMemory() const override {
    return static_cast<size_t>(embedd::FakeMps::Get().heaps().allocated());
  }
  size_t getDriverAllocatedMemory() const override { return embedd::FakeMps::Get().heaps().driver(); }
  size_t getRecommendedMaxMemory() const override {
    return static_cast<size_t>(embedd::FakeMps::Get().recommended());
  }
  void setMemoryFraction(double ratio) const override { embedd::FakeMps::Get().SetHigh(ratio); }
};

C10_REGISTER_CLASS(MPSHooksRegistry, MPSHooks, FakeMPSHooks)

}  // namespace at
