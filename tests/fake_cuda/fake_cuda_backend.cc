// SPDX-License-Identifier: Apache-2.0
//
// Registers FakeCuda with LibTorch: hooks, allocators, streams and events, every operator, and the functions
// of LibTorch's CUDA library that the server finds by name. Linked into a program, it acts before main.

#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/fake_cuda/fake_cuda.h"

namespace embedd {
namespace {

FakeCuda& Cuda() { return FakeCuda::Get(); }

const c10::Device kDevice(c10::DeviceType::CUDA, 0);

c10::Stream StreamOf(int64_t id) { return c10::Stream(c10::Stream::UNSAFE, kDevice, id); }

// ---- memory ----

void FreeOnDevice(void* memory) {
  if (memory != nullptr) Cuda().Free(memory);
}
void FreePinned(void* memory) {
  if (memory != nullptr) Cuda().Unpin(memory);
}

class DeviceMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* const memory = bytes == 0 ? nullptr : Cuda().Allocate(static_cast<int64_t>(bytes));
    return {memory, memory, &FreeOnDevice, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &FreeOnDevice; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};
DeviceMemory device_memory;
REGISTER_ALLOCATOR(c10::DeviceType::CUDA, &device_memory)

class PinnedMemory final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* const memory = bytes == 0 ? nullptr : Cuda().Pin(static_cast<int64_t>(bytes));
    return {memory, memory, &FreePinned, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &FreePinned; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}
};
PinnedMemory pinned_memory;
REGISTER_HOST_ALLOCATOR(at::kCUDA, &pinned_memory)

struct FakeHooks final : at::CUDAHooksInterface {
  explicit FakeHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  bool isPinnedPtr(const void* memory) const override { return Cuda().pinned(memory); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
};
}  // namespace
}  // namespace embedd

namespace at {
using CUDAHooks = embedd::FakeHooks;
REGISTER_CUDA_HOOKS(CUDAHooks)
}  // namespace at

namespace embedd {
namespace {

// ---- streams and events ----

struct FakeGuard final : c10::impl::DeviceGuardImplInterface {
  using Event = FakeCuda::Event;
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const override { return StreamOf(Cuda().stream); }
  c10::Stream getDefaultStream(c10::Device) const override { return StreamOf(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return StreamOf(++Cuda().streams); }
  c10::Stream exchangeStream(c10::Stream to) const override {
    return StreamOf(std::exchange(Cuda().stream, to.id()));
  }
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Event;
    *static_cast<Event*>(*event) = Cuda().Record(stream.id());
  }
  // What waits happens later than this: kernels do at once.
  void block(void* event, const c10::Stream&) const override { Cuda().Wait(*static_cast<Event*>(event)); }
  void synchronizeEvent(void* event) const override { Cuda().WaitOnHost(*static_cast<Event*>(event)); }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    Cuda().WaitOnHost(Cuda().Record(stream.id()));
  }
  void synchronizeDevice(const c10::DeviceIndex) const override { Cuda().WaitForAll(); }
};
C10_REGISTER_GUARD_IMPL(CUDA, FakeGuard)

// ---- operators ----

using Values = std::vector<c10::IValue>;

// The same memory, for operators of the cpu.
at::Tensor OnHost(const at::Tensor& tensor) {
  const c10::Storage& storage = tensor.storage();
  if (storage.nbytes() == 0) return at::empty(tensor.sizes(), at::dtype(tensor.dtype()));
  const auto count = static_cast<int64_t>(storage.nbytes() / tensor.dtype().itemsize());
  const at::Tensor all = at::from_blob(const_cast<void*>(storage.data()), {count}, at::dtype(tensor.dtype()));
  return at::as_strided(all, tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

at::Tensor Wrap(const at::Tensor& like, c10::Storage storage) {
  at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA), like.dtype());
  tensor.unsafeGetTensorImpl()->set_storage_offset(like.storage_offset());
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides());
  return tensor;
}

c10::Storage NewStorage(const c10::Storage& bytes) {
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes.nbytes(), &device_memory, /*resizable=*/true);
  if (bytes.nbytes() > 0) std::memcpy(storage.mutable_data(), bytes.data(), bytes.nbytes());
  return storage;
}

// What stands for the device's tensors while an operator runs on the cpu.
class Call {
 public:
  Values Arguments(const Values& arguments) {
    Values host;
    for (const c10::IValue& value : arguments) host.push_back(Host(value));
    TORCH_CHECK(!(on_device_ && on_cpu_), "Expected all tensors to be on the same device");
    return host;
  }
  c10::IValue Result(const c10::IValue& value) {
    if (!value.isTensor() || !value.toTensor().defined()) return value;
    const at::Tensor& result = value.toTensor();
    for (const auto& [device, host] : pairs_) {
      if (result.unsafeGetTensorImpl() == host.unsafeGetTensorImpl()) {
        if (result.sizes() == device.sizes()) return device;
        // An empty tensor that an operator writes into takes the size of the result.
        device.unsafeGetTensorImpl()->set_storage_keep_dtype(NewStorage(result.storage()));
        device.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides());
        return device;
      }
      if (result.storage().data() == device.storage().data()) return Wrap(result, device.storage());
    }
    return Wrap(result, NewStorage(result.storage()));
  }

 private:
  c10::IValue Host(const c10::IValue& value) {
    if (value.isTensor()) return Host(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(Host(tensor));
      return list;
    }
    if (value.isDevice()) return c10::IValue(c10::Device(c10::DeviceType::CPU));
    return value;
  }
  at::Tensor Host(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (!tensor.is_cuda()) {
      on_cpu_ = on_cpu_ || tensor.dim() > 0;  // single numbers may come from the host
      return tensor;
    }
    on_device_ = true;
    pairs_.emplace_back(tensor, OnHost(tensor));
    return pairs_.back().second;
  }

  bool on_device_ = false, on_cpu_ = false;
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;
};

Values RunOnHost(const c10::OperatorHandle& op, const Values& arguments) {
  Call call;
  torch::jit::Stack stack = call.Arguments(arguments);
  op.callBoxed(&stack);
  Values results;
  for (const c10::IValue& value : stack) results.push_back(call.Result(value));
  return results;
}

void Operator(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t count = op.schema().arguments().size();
  const Values arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  torch::jit::drop(*stack, count);
  Values results;
  // The first time it makes the results; when a graph is replayed they get their numbers anew.
  Cuda().Work([op, arguments, kept = std::make_shared<std::optional<Values>>(), &results] {
    const Values now = RunOnHost(op, arguments);
    if (!kept->has_value()) {
      *kept = results = now;
      return;
    }
    for (size_t i = 0; i < now.size(); ++i) {
      if (!now[i].isTensor() || !now[i].toTensor().defined()) continue;
      const c10::Storage &from = now[i].toTensor().storage(), &to = (**kept)[i].toTensor().storage();
      if (from.data() != to.data()) std::memcpy(const_cast<void*>(to.data()), from.data(), to.nbytes());
    }
  });
  for (c10::IValue& result : results) stack->push_back(std::move(result));
}

at::Tensor& Copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  const bool host = !to.is_cuda() || !from.is_cuda();
  TORCH_CHECK(!host || Cuda().recording == nullptr, "operation not permitted when stream is capturing");
  const bool plain = to.dtype() == from.dtype() && to.is_contiguous() && from.is_contiguous();
  if (non_blocking && to.is_cuda() && plain && Cuda().pinned(from.const_data_ptr())) {
    Cuda().CopyLater(to.mutable_data_ptr(), from.const_data_ptr(), static_cast<int64_t>(to.nbytes()));
    return to;
  }
  Cuda().Work([to, from] {
    const auto host_of = [](const at::Tensor& tensor) { return tensor.is_cuda() ? OnHost(tensor) : tensor; };
    host_of(to).copy_(host_of(from));
  });
  return to;
}

at::Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   type.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                        std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA), type.value_or(at::kFloat));
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&Operator>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("copy_", Copy);
  m.impl("empty.memory_format", Empty);
  m.impl("empty_strided", EmptyStrided);
  // Made of others, by the device.
  m.impl("scaled_dot_product_attention", torch::CppFunction::makeFromBoxedFunction<&Operator>());
}

}  // namespace
}  // namespace embedd

// ---- what the server finds by name (server/engine/cuda_library.cc) ----

namespace embedd {

using Pool = std::pair<unsigned long long, unsigned long long>;

FakeCuda::Graph*& GraphIn(void* object) { return *static_cast<FakeCuda::Graph**>(object); }

#define EXPORTED_AS(name) asm(name) __attribute__((visibility("default")))
void ClearWorkspaces() EXPORTED_AS("_ZN2at4cuda21clearCublasWorkspacesEv");
void Make(void* object, bool keep_graph) EXPORTED_AS("_ZN2at4cuda9CUDAGraphC1Eb");
void Destroy(void* object) EXPORTED_AS("_ZN2at4cuda9CUDAGraphD1Ev");
void Begin(void* object, Pool pool, unsigned mode)
    EXPORTED_AS("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
void End(void* object) EXPORTED_AS("_ZN2at4cuda9CUDAGraph11capture_endEv");
void Replay(void* object) EXPORTED_AS("_ZN2at4cuda9CUDAGraph6replayEv");
Pool PoolOf(void* object) EXPORTED_AS("_ZN2at4cuda9CUDAGraph4poolEv");
#undef EXPORTED_AS

void ClearWorkspaces() { ++Cuda().workspaces_cleared; }
void Make(void* object, bool) { GraphIn(object) = new FakeCuda::Graph; }
void Destroy(void* object) { delete GraphIn(object); }

void Begin(void* object, Pool, unsigned mode) {
  TORCH_CHECK(Cuda().stream != 0, "CUDA graphs must be captured on a non-default stream.");
  TORCH_CHECK(mode == 1, "other threads could not go on");
  Cuda().recording = GraphIn(object);
}
void End(void*) { Cuda().recording = nullptr; }

void Replay(void* object) {
  ++Cuda().replays;
  Cuda().Wait(Cuda().Record(Cuda().stream));
  for (const auto& work : GraphIn(object)->work) work();
}
Pool PoolOf(void*) { return {7, 0}; }

}  // namespace embedd
