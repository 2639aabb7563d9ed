# What the client needs when it is built alone or used from its install tree. Debian ships no CONFIG package for
# protobuf, Homebrew no module-mode one that fits: both ways are tried.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(absl)
set(protobuf_MODULE_COMPATIBLE TRUE)
find_package(Protobuf CONFIG QUIET)
if(NOT Protobuf_FOUND)
  find_dependency(Protobuf)
endif()
find_dependency(gRPC CONFIG)
