# Random model folders for tests and benchmarks: embedd_random_model. Include it where it is needed; it is declared once.
include_guard(GLOBAL)
embedd_library(random_model
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/random_model.cc
  DEPS model absl::status absl::strings nlohmann_json::nlohmann_json)
