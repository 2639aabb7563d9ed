// SPDX-License-Identifier: Apache-2.0
//
// DeviceMemory of mps, from CreateTorchDeviceMemory, against the fake backend.

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/MPSHooksInterface.h>
#include <ATen/mps/MPSAllocatorInterface.h>
#include <c10/core/Allocator.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "server/engine/torch_error.h"
#include "server/release/torch_device_memory.h"
#include "tests/fake_mps/fake_mps.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;
constexpr const char* kHigh = "PYTORCH_MPS_HIGH_WATERMARK_RATIO";
constexpr const char* kLow = "PYTORCH_MPS_LOW_WATERMARK_RATIO";

at::Tensor Take(int64_t bytes) {
  return at::detail::empty_generic({bytes}, c10::GetAllocator(c10::DeviceType::MPS),
                                   c10::DispatchKeySet(c10::DispatchKey::MPS), at::kByte, std::nullopt);
}

// A fresh device and its memory.
std::unique_ptr<DeviceMemory> Create(int64_t recommended, int64_t limit) {
  FakeMps::Get().Reset(recommended);
  auto memory = CreateTorchDeviceMemory(DeviceKind::kMps, limit);
  REQUIRE(memory.ok());
  return *std::move(memory);
}

TEST_CASE("both watermarks are set, to at most what Metal recommends, before the allocator starts") {
  unsetenv(kHigh);
  unsetenv(kLow);
  FakeMps& mps = FakeMps::Get();
  const auto memory = Create(16 * kGiB, 0);
  CHECK(mps.high_at_start == 1.0);  // LibTorch's own would be 1.7 and 1.4: more than the machine has
  CHECK(mps.low_at_start == 1.0);
  CHECK(mps.heaps().options().high_ratio == 1.0);
  CHECK(mps.heaps().options().low_ratio < 1.0);
  CHECK(memory->Read().limit == 16 * kGiB);
  CHECK(memory->Read().recommended == 16 * kGiB);
}

TEST_CASE("a watermark from the environment that lifts the limit is not used") {
  setenv(kHigh, "0.0", 1);
  unsetenv(kLow);
  FakeMps& mps = FakeMps::Get();
  const auto memory = Create(16 * kGiB, 0);
  CHECK(mps.high_at_start == 1.0);
  CHECK(mps.heaps().high_limit() == 16 * kGiB);
}

TEST_CASE("a memory limit becomes the watermark; one above the recommended maximum is cut to it") {
  const auto half = Create(16 * kGiB, 8 * kGiB);
  CHECK(half->Read().limit == 8 * kGiB);
  CHECK(FakeMps::Get().heaps().high_limit() == 8 * kGiB);
  const auto much = Create(16 * kGiB, 40 * kGiB);
  CHECK(much->Read().limit == 16 * kGiB);
  CHECK(FakeMps::Get().heaps().high_limit() == 16 * kGiB);
}

TEST_CASE("the limit moves up and down at run time and low is never above high") {
  const auto memory = Create(16 * kGiB, 8 * kGiB);
  for (const int64_t limit : {2 * kGiB, 12 * kGiB, kGiB, 16 * kGiB}) {
    REQUIRE(memory->ChangeLimit(limit).ok());  // the fake throws, as the real one does, when low passes high
    CHECK(FakeMps::Get().heaps().high_limit() == limit);
    CHECK(memory->Read().limit == limit);
  }
}

TEST_CASE("readings follow tensors: allocated, reserved heaps, driver, peak") {
  const auto memory = Create(16 * kGiB, 0);
  {
    const at::Tensor kept = Take(4 * kMiB);
    { const at::Tensor dropped = Take(9 * kMiB); }
    const MemoryReading reading = memory->Read();
    CHECK(reading.allocated == 4 * kMiB);
    CHECK(reading.peak == 13 * kMiB);
    CHECK(reading.reserved == 32 * kMiB);
    FakeMps::Get().SetOther(100 * kMiB);
    CHECK(memory->Read().driver == 132 * kMiB);
    memory->ResetPeak();
    CHECK(memory->Read().peak == 4 * kMiB);
  }
  CHECK(memory->Read().allocated == 0);
}

TEST_CASE("trimming gives heaps back and keeps compiled graphs; dropping graphs is another call") {
  FakeMps& mps = FakeMps::Get();
  const auto memory = Create(16 * kGiB, 0);
  { const at::Tensor t = Take(100 * kMiB); }
  mps.CompileGraph("16x3x224x224", 300 * kMiB);
  memory->Trim();
  CHECK(memory->Read().reserved == 0);
  CHECK(mps.graphs() == 1);
  CHECK(mps.cache_releases == 1);
  memory->DropCompiledGraphs();
  CHECK(mps.graphs() == 0);
  CHECK(mps.graph_drops == 1);
  CHECK(memory->Read().driver == 0);
}

TEST_CASE("out of memory is recognised by the real message") {
  const auto memory = Create(16 * kGiB, kGiB);
  const absl::Status status = CatchTorch([] { Take(2 * kGiB); });
  INFO(status.message());
  CHECK(absl::IsResourceExhausted(status));
  CHECK(std::string(status.message())
            .find("MPS backend out of memory (MPS allocated: 0 bytes, other allocations: 0 "
                  "bytes, max allowed: 1024.00 MiB). Tried to allocate 2.00 GiB on shared "
                  "pool.") == 0);
  CHECK(memory->CheckSane().ok());
}

TEST_CASE("garbage counters are data loss: far above the machine's memory, or below the live tensors") {
  const auto memory = Create(16 * kGiB, 0);
  const at::Tensor t = Take(9 * kMiB);
  CHECK(memory->CheckSane().ok());
  FakeMps::Get().heaps().SetGarbage((uint64_t{1} << 56) + 7);
  CHECK(absl::IsDataLoss(memory->CheckSane()));
  CHECK(absl::IsResourceExhausted(CatchTorch([] { Take(1); })));  // alone it looks like a full device
  FakeMps::Get().heaps().SetGarbage(kMiB);
  CHECK(absl::IsDataLoss(memory->CheckSane()));
  FakeMps::Get().heaps().SetGarbage(0);
}

TEST_CASE("a process whose counters are garbage from the start gets no device memory") {
  FakeMps::Get().Reset(16 * kGiB);
  FakeMps::Get().heaps().SetGarbage(uint64_t{1} << 56);
  CHECK(absl::IsDataLoss(CreateTorchDeviceMemory(DeviceKind::kMps, 0).status()));
  FakeMps::Get().heaps().SetGarbage(0);
}

TEST_CASE("counters that throw are a lost device, for good") {
  const auto memory = Create(16 * kGiB, 0);
  FakeMps::Get().counters_throw = true;
  CHECK(absl::IsDataLoss(memory->CheckSane()));
  FakeMps::Get().counters_throw = false;
  CHECK(absl::IsDataLoss(memory->CheckSane()));
}

TEST_CASE("a tensor on unified memory can be written through its host alias, which keeps it alive") {
  const auto memory = Create(16 * kGiB, 0);
  auto* allocator = dynamic_cast<at::mps::IMPSAllocator*>(c10::GetAllocator(c10::DeviceType::MPS));
  REQUIRE(allocator != nullptr);
  {
    c10::Storage alias;
    {
      const at::Tensor t = Take(kMiB);
      alias = allocator->getHostAliasStorage(t.storage());
    }
    CHECK(memory->Read().allocated == kMiB);
    std::memset(alias.mutable_data(), 7, kMiB);
    CHECK(static_cast<const char*>(alias.data())[kMiB - 1] == 7);
  }
  CHECK(memory->Read().allocated == 0);
}

}  // namespace
}  // namespace embedd
