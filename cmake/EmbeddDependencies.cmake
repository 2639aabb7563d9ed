# Every library from outside, found once. Debian ships no CONFIG package for protobuf and Catch2 2.13;
# Homebrew ships both as CONFIG and Catch2 3: each is looked for both ways.

find_package(absl REQUIRED)
find_package(Threads REQUIRED)
find_package(spdlog REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED COMPONENTS core)
if(EMBEDD_TESTS)
  find_package(Catch2 REQUIRED)
endif()

if(EMBEDD_WITH_SERVER)
  set(protobuf_MODULE_COMPATIBLE TRUE)
  find_package(Protobuf CONFIG QUIET)
  if(NOT Protobuf_FOUND)
    find_package(Protobuf REQUIRED)
  endif()
  find_package(gRPC CONFIG REQUIRED)
  find_package(nlohmann_json REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(jpeg REQUIRED IMPORTED_TARGET libjpeg)  # libjpeg-turbo; IJG's gives other pixels
  pkg_check_modules(webp REQUIRED IMPORTED_TARGET libwebp)
  pkg_check_modules(tiff REQUIRED IMPORTED_TARGET libtiff-4>=4.5)  # 4.5: handlers of errors for each file
  pkg_check_modules(lcms2 REQUIRED IMPORTED_TARGET lcms2)
  pkg_check_modules(dav1d REQUIRED IMPORTED_TARGET dav1d>=1.0)
  pkg_check_modules(de265 REQUIRED IMPORTED_TARGET libde265)
  find_package(ZLIB REQUIRED)
  pkg_check_modules(httplib REQUIRED IMPORTED_TARGET cpp-httplib)
  if(APPLE AND NOT ICU_ROOT)  # Homebrew keeps its ICU out of the usual places, because macOS has one without headers
    execute_process(COMMAND brew --prefix icu4c OUTPUT_VARIABLE ICU_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  find_package(ICU 66 REQUIRED COMPONENTS uc)
  set(_oldest_libtorch 2.13)
  if(EMBEDD_OLDER_LIBTORCH)
    set(_oldest_libtorch 2.11)
  endif()
  find_package(LibTorch ${_oldest_libtorch} REQUIRED)
endif()
