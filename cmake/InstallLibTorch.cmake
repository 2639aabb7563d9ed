# Run by cmake --install where EMBEDD_BUNDLE_LIBTORCH is on (EmbeddInstall.cmake): copies the libraries that `embedd_built`
# needs and that no system folder has, with what they need in turn, into the private library folder.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES "${embedd_built}" RESOLVED_DEPENDENCIES_VAR found
  UNRESOLVED_DEPENDENCIES_VAR missing POST_EXCLUDE_REGEXES "^/lib" "^/usr/lib" "^/usr/local/lib/[^/]*$")
if(missing)
  message(FATAL_ERROR "not found, although ${embedd_built} needs it: ${missing}")
endif()
set(folder "${CMAKE_INSTALL_PREFIX}/${embedd_private_libdir}")
foreach(library IN LISTS found)
  file(INSTALL "${library}" DESTINATION "${folder}" TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)
endforeach()
