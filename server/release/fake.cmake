# What needs no LibTorch beside the core: the fakes.
include_guard(GLOBAL)
set(_dir ${CMAKE_CURRENT_LIST_DIR})
embedd_library(release_fake
  SOURCES ${_dir}/fake_device_memory.cc ${_dir}/fake_mps_heaps.cc
  DEPS absl::status absl::statusor absl::strings absl::str_format)
