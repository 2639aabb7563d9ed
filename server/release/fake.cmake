# What needs no LibTorch beside the core: the limit of control groups, and the fakes.
include_guard(GLOBAL)
set(_dir ${CMAKE_CURRENT_LIST_DIR})
embedd_library(release_cgroup SOURCES ${_dir}/cgroup_memory.cc DEPS absl::strings)
embedd_library(release_fake
  SOURCES ${_dir}/fake_device_memory.cc ${_dir}/fake_mps_heaps.cc
  DEPS absl::status absl::statusor absl::strings absl::str_format)
