# cmake --install BUILD --component client: the library, its header and the package files; --component ctl: embedctl.
# The generated messages are linked in by their own archive, which is installed but has no header: no protobuf type is
# part of the interface.
include(CMakePackageConfigHelpers)
set(embedd_client_package ${CMAKE_INSTALL_LIBDIR}/cmake/embedd_client)

set_target_properties(embedd_client PROPERTIES EXPORT_NAME client)
install(TARGETS embedd_client embedd_proto EXPORT embedd_client_targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client)
install(DIRECTORY include/embedd DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT client)
install(EXPORT embedd_client_targets NAMESPACE embedd:: DESTINATION ${embedd_client_package} COMPONENT client)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/embedd_clientConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES cmake/embedd_clientConfig.cmake cmake/Dependencies.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/embedd_clientConfigVersion.cmake
  DESTINATION ${embedd_client_package} COMPONENT client)
if(TARGET embedctl)
  install(TARGETS embedctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ctl)
  install(FILES ctl/embedctl.bash RENAME embedctl
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT ctl)
endif()
