# Finds LibTorch without TorchConfig.cmake, which insists on a CUDA toolkit when the wheel is a CUDA build.
#
# Looks, in this order, at: -DLIBTORCH_DIR=… or the environment variable LIBTORCH_DIR (a folder that holds include/
# and lib/: an official zip), the wheel in .venv, Homebrew. Defines one imported target, embedd::libtorch, over
# libtorch_cpu and libc10. CUDA libraries are never linked: the server loads them when asked for (--device cuda).
#
# Only link it PRIVATE to libraries whose files see neither gRPC, protobuf nor fmt: the include folder of the wheel
# carries old copies of their headers.

set(LIBTORCH_DIR "$ENV{LIBTORCH_DIR}" CACHE PATH "Folder of LibTorch that holds include/ and lib/")
file(GLOB _libtorch_wheel ${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)

find_path(LibTorch_INCLUDE_DIR ATen/ATen.h
  HINTS ${LIBTORCH_DIR} ${_libtorch_wheel} /opt/homebrew/opt/pytorch /usr/local/opt/pytorch
  PATH_SUFFIXES include NO_CMAKE_FIND_ROOT_PATH)
find_library(LibTorch_CPU_LIBRARY torch_cpu
  HINTS ${LibTorch_INCLUDE_DIR}/../lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10
  HINTS ${LibTorch_INCLUDE_DIR}/../lib NO_DEFAULT_PATH)

set(LibTorch_VERSION "")
if(EXISTS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h)
  file(STRINGS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h _line REGEX "define TORCH_VERSION \\\\|^ *\"[0-9.]+")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE
  "embedd needs LibTorch 2.13 or newer (from there on the MPS allocator is a c10::DeviceAllocator, so its memory can \
be measured). Run scripts/bootstrap, or pass -DLIBTORCH_DIR=/path/to/libtorch")

if(LibTorch_FOUND AND NOT TARGET embedd::libtorch)
  add_library(embedd::libtorch INTERFACE IMPORTED)
  target_include_directories(embedd::libtorch SYSTEM INTERFACE
    ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
  target_link_libraries(embedd::libtorch INTERFACE ${LibTorch_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
  get_filename_component(_libtorch_lib_dir ${LibTorch_C10_LIBRARY} DIRECTORY)
  set(LibTorch_LIB_DIR ${_libtorch_lib_dir} CACHE INTERNAL "Folder of the LibTorch libraries")
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
