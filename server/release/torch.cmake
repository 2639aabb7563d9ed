# DeviceMemory over LibTorch's allocators. LibTorch is PRIVATE: its headers clash with gRPC's and fmt's.
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/fake.cmake)
set(_dir ${CMAKE_CURRENT_LIST_DIR})
embedd_library(release_torch
  SOURCES
    ${_dir}/torch_allocator_memory.cc
    ${_dir}/torch_cpu_allocator.cc
    ${_dir}/torch_cuda_memory.cc
    ${_dir}/torch_device_memory.cc
    ${_dir}/torch_mps_memory.cc
  DEPS support absl::status absl::statusor absl::strings absl::str_format)
target_link_libraries(embedd_release_torch PRIVATE embedd::libtorch)
