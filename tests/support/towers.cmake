# The plain tower and the server's, for tests and benchmarks: embedd_towers. Include it where it is needed; it is declared once.
include_guard(GLOBAL)
embedd_library(towers SOURCES ${CMAKE_CURRENT_LIST_DIR}/towers.cc DEPS model tower absl::strings)
target_link_libraries(embedd_towers PRIVATE embedd::libtorch)
