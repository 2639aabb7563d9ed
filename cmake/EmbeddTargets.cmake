# One way to declare a library, a program and a test of ours.
#
#   embedd_library(queue SOURCES a.cc b.cc DEPS support)   -> target embedd_queue
#   embedd_test(queue SOURCES a_test.cc DEPS queue)        -> test program unit_queue
#
# DEPS names our libraries without the prefix, or any other CMake target.

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

function(embedd_compile_settings target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers -fvisibility=hidden)
  if(EMBEDD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # With -O3 it raises false alarms in std::string (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105651).
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-Wno-restrict>)
  endif()
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wthread-safety -Werror=thread-safety)
  endif()
  if(EMBEDD_FUZZERS)  # a fuzzer sees where it has been only in code that counts it: ours, not only its own main file
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(EMBEDD_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${EMBEDD_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${EMBEDD_SANITIZE})
    if(EMBEDD_SANITIZE MATCHES "undefined")
      # vptr needs RTTI of libraries built without it (gRPC, LibTorch).
      target_compile_options(${target} PRIVATE -fno-sanitize=vptr -fno-sanitize-recover=undefined)
    endif()
  endif()
endfunction()

function(embedd_link target)
  foreach(dep IN LISTS ARGN)
    if(TARGET embedd_${dep})
      target_link_libraries(${target} PUBLIC embedd_${dep})
    else()
      target_link_libraries(${target} PUBLIC ${dep})
    endif()
  endforeach()
endfunction()

function(embedd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(embedd_${name} STATIC ${ARG_SOURCES})
  embedd_compile_settings(embedd_${name})
  embedd_link(embedd_${name} ${ARG_DEPS})
endfunction()

function(embedd_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  embedd_compile_settings(${name})
  embedd_link(${name} ${ARG_DEPS})
endfunction()

# embedd_test(NAME SOURCES … DEPS … [LABEL core|server|integration])
function(embedd_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${ARG_LABEL}_${name} ${ARG_SOURCES})
  embedd_compile_settings(${ARG_LABEL}_${name})
  embedd_link(${ARG_LABEL}_${name} ${ARG_DEPS} Catch2::Catch2WithMain)
  add_test(NAME ${ARG_LABEL}.${name} COMMAND ${ARG_LABEL}_${name})
  set_tests_properties(${ARG_LABEL}.${name} PROPERTIES LABELS ${ARG_LABEL})
endfunction()
