# The real executor. Only these files (and server/model's tower, server/release's torch_*) see LibTorch; their headers do
# not pass it on.
embedd_library(executor_torch
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/torch_device.cc ${CMAKE_CURRENT_LIST_DIR}/torch_error.cc
          ${CMAKE_CURRENT_LIST_DIR}/torch_executor.cc ${CMAKE_CURRENT_LIST_DIR}/torch_int8.cc ${CMAKE_CURRENT_LIST_DIR}/torch_parity.cc
          ${CMAKE_CURRENT_LIST_DIR}/torch_staging.cc
  DEPS model tower support absl::function_ref absl::status absl::statusor absl::str_format absl::strings absl::span)
target_link_libraries(embedd_executor_torch PRIVATE embedd::libtorch ${CMAKE_DL_LIBS})
