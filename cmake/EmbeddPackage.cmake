# cpack -G DEB in a build folder with -DEMBEDD_BUNDLE_LIBTORCH=ON: the Debian package (scripts/build-deb does both). What it depends
# on, dpkg-shlibdeps finds in the programs; LibTorch, which Debian does not have in this version, goes along in lib/embedd.
if(NOT EMBEDD_BUNDLE_LIBTORCH OR APPLE)
  return()
endif()
set(embedd_debian ${PROJECT_SOURCE_DIR}/packaging/debian)
set(EMBEDD_PACKAGE_CONTACT "embedd maintainers <maintainers@embedd.example>" CACHE STRING "Who answers for the package")
set(CPACK_PACKAGE_CONTACT "${EMBEDD_PACKAGE_CONTACT}")

# Files that only a package has: settings in /etc, which it keeps when they were changed, and what Debian wants in share/doc.
install(FILES ${PROJECT_SOURCE_DIR}/packaging/embedd.conf DESTINATION /etc/embedd COMPONENT deb EXCLUDE_FROM_ALL)
install(FILES ${embedd_debian}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT deb EXCLUDE_FROM_ALL)
install(FILES ${embedd_debian}/lintian-overrides RENAME embedd DESTINATION share/lintian/overrides COMPONENT deb EXCLUDE_FROM_ALL)
install(CODE "
  execute_process(COMMAND \"${Python3_EXECUTABLE}\" \"${embedd_debian}/changelog.py\" \"${PROJECT_SOURCE_DIR}/CHANGELOG.md\" ${PROJECT_VERSION}
    \"${CPACK_PACKAGE_CONTACT}\" \"${PROJECT_BINARY_DIR}/deb\" RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR \"packaging/debian/changelog.py failed\")
  endif()
  file(INSTALL \"${PROJECT_BINARY_DIR}/deb/changelog.gz\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}\")
  file(GLOB pages \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1/*.1\")
  if(pages)
    execute_process(COMMAND gzip -9nf \${pages})
  endif()"
  COMPONENT deb EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME embedd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "image and text embeddings over gRPC from a resident model")
set(CPACK_PACKAGE_DESCRIPTION
"A server that keeps a CLIP, SigLIP or DINO model on a device and turns images
and texts into embedding vectors. It batches the requests of all its callers,
gives the memory of every batch back, and says at once when it is full.
.
The package holds the server embedd, the command line embedctl, a systemd unit
and the libraries of PyTorch that the server is built with.")
set(CPACK_COMPONENTS_ALL server ctl deb)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LibTorch_LIB_DIR})
file(GLOB _nvidia ${LibTorch_LIB_DIR}/../../nvidia/*/lib)
list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${_nvidia})
set(CPACK_DEBIAN_COMPRESSION_TYPE gzip)  # xz takes minutes, and zstd is not for every Debian yet
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${embedd_debian}/postinst ${embedd_debian}/prerm ${embedd_debian}/postrm ${embedd_debian}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
include(CPack)
