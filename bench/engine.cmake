# The forward pass alone; bench/CMakeLists.txt includes this.
include(${PROJECT_SOURCE_DIR}/tests/support/towers.cmake)
embedd_program(bench_engine SOURCES ${CMAKE_CURRENT_LIST_DIR}/engine.cc
  DEPS executor_torch random_model towers support CLI11::CLI11)
