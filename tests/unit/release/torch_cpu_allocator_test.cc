// SPDX-License-Identifier: Apache-2.0

#include "server/release/torch_cpu_allocator.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "server/support/process.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr size_t kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

// The allocator with nothing cached and no limit, before and after a test.
class Fresh {
 public:
  Fresh() { Reset(); }
  ~Fresh() { Reset(); }
  CountingCpuAllocator* operator->() { return &CountingCpuAllocator::Get(); }
  int64_t allocated() { return stats().allocated_bytes[kAll].current; }
  int64_t reserved() { return stats().reserved_bytes[kAll].current; }
  int64_t peak() { return stats().allocated_bytes[kAll].peak; }
  c10::CachingDeviceAllocator::DeviceStats stats() { return CountingCpuAllocator::Get().getDeviceStats(0); }

 private:
  static void Reset() {
    CountingCpuAllocator& allocator = CountingCpuAllocator::Install();
    allocator.SetLimit(0);
    allocator.emptyCache();
    allocator.resetPeakStats(0);
    allocator.resetAccumulatedStats(0);
  }
};

TEST_CASE("a block is at most a sixteenth larger than what was asked for, and never smaller") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const size_t bytes = 1 + (random() >> (18 + random() % 46)) % (size_t{1} << 46);
    const size_t block = CountingCpuAllocator::BlockSize(bytes);
    REQUIRE(block >= bytes);
    REQUIRE(block % 64 == 0);
    REQUIRE(block <= bytes + std::max<size_t>(bytes / 16 + 1, 64));
    REQUIRE(CountingCpuAllocator::BlockSize(block) == block);
  }
  // Weights of ViT-B-32 fit exactly.
  CHECK(CountingCpuAllocator::BlockSize(9 << 20) == 9 << 20);
  CHECK(CountingCpuAllocator::BlockSize(768 * 768 * 4) == 768 * 768 * 4);
  CHECK(CountingCpuAllocator::BlockSize(std::numeric_limits<size_t>::max()) ==
        std::numeric_limits<size_t>::max());
}

TEST_CASE("every tensor is counted while it lives, and not after") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  {
    const at::Tensor t = at::empty({9, 1024, 1024}, at::kByte);
    CHECK(allocator.allocated() - before == 9 * kMiB);
    CHECK(reinterpret_cast<uintptr_t>(t.data_ptr()) % 64 == 0);
    const at::Tensor small = at::empty({3}, at::kFloat);
    CHECK(allocator.allocated() - before == 9 * kMiB + 64);
    CHECK(reinterpret_cast<uintptr_t>(small.data_ptr()) % 64 == 0);
  }
  CHECK(allocator.allocated() == before);
  CHECK(allocator.reserved() - before >= 9 * kMiB);  // cached
  CHECK(allocator.stats().requested_bytes[kAll].current <= before);
}

TEST_CASE("a freed block is used again for the same size, and trimming gives the cache back to the system") {
  Fresh allocator;
  void* first = at::empty({64 * kMiB}, at::kByte).zero_().data_ptr();
  CHECK(at::empty({64 * kMiB}, at::kByte).data_ptr() == first);
  CHECK(allocator.stats().num_device_alloc == 1);
  const int64_t with_cache = ProcessFootprintBytes();
  allocator->emptyCache();
  CHECK(allocator.reserved() == allocator.allocated());
  CHECK(with_cache - ProcessFootprintBytes() > 60 * kMiB);
}

TEST_CASE("the cache is bounded: the longest unused block goes first") {
  Fresh allocator;
  std::vector<at::Tensor> tensors;
  for (int i = 0; i < 10; ++i) tensors.push_back(at::empty({(100 + 8 * i) * kMiB}, at::kByte));
  while (!tensors.empty()) tensors.erase(tensors.begin());
  const int64_t cached = allocator.reserved() - allocator.allocated();
  CHECK(cached <= static_cast<int64_t>(CountingCpuAllocator::kMaxCachedBytes));
  CHECK(cached > static_cast<int64_t>(CountingCpuAllocator::kMaxCachedBytes) - 200 * kMiB);
  CHECK(allocator.stats().num_device_free > 0);
  const at::Tensor again = at::empty({172 * kMiB}, at::kByte);  // the last one is there
  CHECK(allocator.stats().num_device_alloc == 10);
}

TEST_CASE("a larger block serves a smaller tensor, and its rest goes back when memory is short") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  { const at::Tensor large = at::empty({20 * kMiB}, at::kByte); }
  const at::Tensor small = at::ones({kMiB}, at::kByte);
  CHECK(allocator.stats().num_device_alloc == 1);
  CHECK(allocator.allocated() - before == kMiB);  // what the tensor takes, not the block
  CHECK(allocator.reserved() - before == 20 * kMiB);
  const int64_t with_rest = ProcessFootprintBytes();
  allocator->SetLimit(static_cast<size_t>(before + 20 * kMiB));
  const at::Tensor rest = at::empty({19 * kMiB}, at::kByte);
  CHECK(allocator.stats().num_ooms == 0);
  CHECK(allocator.reserved() - before == 20 * kMiB);
  CHECK(ProcessFootprintBytes() <= with_rest + kMiB);
  CHECK_THROWS_AS(at::empty({kMiB}, at::kByte), c10::OutOfMemoryError);
  allocator->SetLimit(0);
  CHECK(small.sum().item<int64_t>() == kMiB);
}

// What a tower of this width does with n images of 50 tokens, as far as memory goes. Returns what was held of
// the system at most.
int64_t RunBatch(Fresh& allocator, int64_t n, int64_t width) {
  allocator->resetPeakStats(0);
  const auto make = [&](int64_t columns) { return at::empty({n, 50, columns}, at::kFloat); };
  int64_t highest = 0;
  at::Tensor x = make(width);
  for (int layer = 0; layer < 3; ++layer) {
    const at::Tensor normalized = make(width);
    const at::Tensor qkv = make(3 * width);
    const at::Tensor attended = make(width);
    x = make(width);
    const at::Tensor hidden = make(4 * width);
    highest = std::max(highest, allocator.reserved());
  }
  const at::Tensor row = at::empty({n, width / 2}, at::kFloat);
  return std::max(highest, allocator.reserved());
}

TEST_CASE("whatever the mix of batch sizes, what is held for batches stays near what the highest needs") {
  for (const int64_t width : {64, 768}) {
    Fresh allocator;
    const at::Tensor weights = at::empty({width, 4 * width}, at::kFloat);
    allocator->emptyCache();  // as after loading
    const int64_t base = allocator.allocated();
    std::mt19937 random(7);
    const std::vector<int64_t> some = {1, 4, 16, 32};
    int64_t highest_batch = 0, at_warm = 0;
    for (int i = 0; i < 1500; ++i) {
      if (i == 500) at_warm = allocator.stats().num_device_alloc;
      // Going up, going down, a few sizes in turn, and any.
      const int64_t n = i < 64    ? i + 1
                        : i < 128 ? 128 - i
                        : i < 300 ? some[random() % some.size()]
                                  : 1 + static_cast<int64_t>(random() % 64);
      const int64_t held = RunBatch(allocator, n, width) - base;
      highest_batch = std::max(highest_batch, allocator.peak() - base);
      INFO("batch " << i << " of " << n << ", width " << width);
      REQUIRE(static_cast<double>(held) <= 1.5 * static_cast<double>(highest_batch));
    }
    CHECK(allocator.allocated() == base);
    // And it is not kept there by going back to the system all the time.
    const double each = static_cast<double>(allocator.stats().num_device_alloc - at_warm) / 1000;
    std::printf(
        "width %lld: highest batch %.1f MiB, held %.1f MiB, %.2f blocks from the system for each batch\n",
        static_cast<long long>(width), static_cast<double>(highest_batch) / kMiB,
        static_cast<double>(allocator.reserved() - base) / kMiB, each);
    if (width >= 768) CHECK(each < 1);  // smaller blocks come from malloc, which keeps them
  }
}

TEST_CASE("what loading leaves behind does not count as a batch") {
  Fresh allocator;
  allocator->emptyCache();
  at::Tensor weights = at::empty({100 * kMiB}, at::kByte);
  { const at::Tensor converted = at::empty({30 * kMiB}, at::kByte); }
  RunBatch(allocator, 1, 64);
  CHECK(allocator.reserved() - allocator.allocated() < kMiB);
  weights.reset();
  allocator->emptyCache();  // offload, and load again
  weights = at::empty({100 * kMiB}, at::kByte);
  RunBatch(allocator, 1, 64);
  CHECK(allocator.reserved() - allocator.allocated() < kMiB);
}

TEST_CASE("the peak follows the highest allocated bytes since it was reset") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  { const at::Tensor t = at::empty({50 * kMiB}, at::kByte); }
  CHECK(allocator.peak() - before >= 50 * kMiB);
  allocator->resetPeakStats(0);
  CHECK(allocator.peak() == before);
}

TEST_CASE(
    "above the limit an allocation throws OutOfMemoryError that names the numbers, and the rest lives on") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  allocator->SetLimit(static_cast<size_t>(before + 20 * kMiB));
  const at::Tensor kept = at::ones({10 * kMiB}, at::kByte);
  try {
    at::empty({11 * kMiB}, at::kByte);
    FAIL("11 MiB fitted beside 10 MiB under a limit of 20 MiB");
  } catch (const c10::OutOfMemoryError& e) {
    const std::string text = e.what_without_backtrace();
    INFO(text);
    CHECK(text.find("CPU device memory limit reached: tried to allocate 11534336 bytes, allocated ") == 0);
    CHECK(text.find(", limit " + std::to_string(before + 20 * kMiB)) != std::string::npos);
  }
  CHECK(allocator.stats().num_ooms == 1);
  CHECK(allocator.allocated() - before == 10 * kMiB);
  CHECK(kept.data_ptr<uint8_t>()[10 * kMiB - 1] == 1);
}

TEST_CASE("the cache is given back before an allocation is refused") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  allocator->SetLimit(static_cast<size_t>(before + 20 * kMiB));
  { const at::Tensor t = at::empty({15 * kMiB}, at::kByte); }
  CHECK_NOTHROW(at::empty({18 * kMiB}, at::kByte));
  CHECK(allocator.stats().num_alloc_retries == 1);
  CHECK(allocator.stats().num_ooms == 0);
}

TEST_CASE("a limit lowered below what is held refuses until enough is freed") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  at::Tensor held = at::empty({30 * kMiB}, at::kByte);
  allocator->SetLimit(static_cast<size_t>(before + 20 * kMiB));
  CHECK_THROWS_AS(at::empty({kMiB}, at::kByte), c10::OutOfMemoryError);
  held.reset();
  CHECK(allocator.reserved() == before);  // too much to be cached
  CHECK_NOTHROW(at::empty({kMiB}, at::kByte));
}

TEST_CASE("sizes that cannot be are refused, not rounded to something small") {
  Fresh allocator;
  for (const size_t bytes : {std::numeric_limits<size_t>::max(), size_t{1} << 63, (size_t{1} << 46) + 1}) {
    CHECK_THROWS_AS(allocator->allocate(bytes), c10::OutOfMemoryError);
  }
  CHECK(allocator->allocate(0).get() == nullptr);
  CHECK(allocator.stats().num_device_alloc == 0);
}

TEST_CASE("threads may allocate and free each other's blocks, and the books stay exact") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  std::vector<std::vector<c10::DataPtr>> blocks(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&allocator, &mine = blocks[static_cast<size_t>(t)], t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < 5'000; ++i) {
        mine.push_back(allocator->allocate(1 + random() % 100'000));
        if (mine.size() > 20) mine.erase(mine.begin() + static_cast<long>(random() % mine.size()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int64_t live = 0;
  for (const auto& mine : blocks) live += static_cast<int64_t>(mine.size());
  CHECK(allocator.stats().allocation[kAll].current >= live);
  blocks.clear();  // freed by another thread than the one that allocated
  CHECK(allocator.allocated() == before);
  allocator->emptyCache();
  CHECK(allocator.reserved() == before);
}

TEST_CASE("out of memory in the middle of an operation leaves nothing behind") {
  Fresh allocator;
  const int64_t before = allocator.allocated();
  {
    const at::Tensor a = at::rand({512, 1024}), b = at::rand({1024, 1024});
    allocator->SetLimit(static_cast<size_t>(allocator.allocated() + kMiB));
    for (int i = 0; i < 100; ++i) CHECK_THROWS_AS(at::gelu(at::matmul(a, b)), c10::OutOfMemoryError);
    allocator->SetLimit(0);
    CHECK_NOTHROW(at::gelu(at::matmul(a, b)));
  }
  CHECK(allocator.allocated() == before);
}

}  // namespace
}  // namespace embedd
