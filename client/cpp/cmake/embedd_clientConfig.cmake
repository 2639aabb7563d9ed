# find_package(embedd_client) gives the target embedd::client.
include(${CMAKE_CURRENT_LIST_DIR}/Dependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/embedd_client_targets.cmake)
