# cmake --install BUILD: the server and what belongs to it, as component "server"; client/cpp/cmake/Install.cmake has embedctl ("ctl")
# and the C++ library ("client"). Manual pages are made from --help while installing.
#
# The installed server finds LibTorch where it was built with it (.venv, LIBTORCH_DIR, Homebrew), or, with
# -DEMBEDD_BUNDLE_LIBTORCH=ON (the deb, the image), in lib/embedd beside it, where it then is installed too.
option(EMBEDD_BUNDLE_LIBTORCH "cmake --install copies the LibTorch libraries that the server needs" OFF)

set(embedd_private_libdir lib/embedd)
if(EMBEDD_BUNDLE_LIBTORCH)
  set_target_properties(embedd PROPERTIES INSTALL_RPATH "$ORIGIN/../${embedd_private_libdir}")
  # libtorch_cpu and what it brings along in its wheel: everything that does not come from the system.
  install(CODE "set(embedd_private_libdir \"${embedd_private_libdir}\")" COMPONENT server)
  install(CODE "set(embedd_built \"$<TARGET_FILE:embedd>\")" COMPONENT server)
  install(CODE "set(embedd_libtorch \"${LibTorch_LIB_DIR}\")" COMPONENT server)
  install(CODE "set(embedd_docdir \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}\")" COMPONENT server)
  install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/InstallLibTorch.cmake COMPONENT server)
else()
  set_target_properties(embedd PROPERTIES INSTALL_RPATH "${LibTorch_LIB_DIR}")
endif()
install(TARGETS embedd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
install(FILES ${PROJECT_SOURCE_DIR}/packaging/embedd.bash RENAME embedd
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT server)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${PROJECT_SOURCE_DIR}/LICENSE
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT server)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT server)
install(FILES ${PROJECT_SOURCE_DIR}/packaging/embedd.conf
  DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT server)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/embedd
  DESTINATION ${CMAKE_INSTALL_DATADIR}/embedd/proto COMPONENT server FILES_MATCHING PATTERN "*.proto")

# The unit that this system's supervisor reads; it names the folder that the programs are in.
if(APPLE)
  set(embedd_unit docs/deploy/launchd/dev.embedd.server.plist)
  set(embedd_unit_dir ${CMAKE_INSTALL_DATADIR}/embedd)
else()
  set(embedd_unit docs/deploy/systemd/embedd.service)
  set(embedd_unit_dir lib/systemd/system)
  install(FILES ${PROJECT_SOURCE_DIR}/docs/deploy/systemd/embedd.sysusers RENAME embedd.conf
    DESTINATION lib/sysusers.d COMPONENT server)
endif()
install(CODE "
  file(READ \"${PROJECT_SOURCE_DIR}/${embedd_unit}\" unit)
  string(REPLACE /usr/local/bin \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\" unit \"\${unit}\")
  get_filename_component(name \"${embedd_unit}\" NAME)
  file(WRITE \"${PROJECT_BINARY_DIR}/unit/\${name}\" \"\${unit}\")
  file(INSTALL \"${PROJECT_BINARY_DIR}/unit/\${name}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${embedd_unit_dir}\")"
  COMPONENT server)

# A program that is built with a sanitizer may have its own opinion of --help.
find_package(Python3 COMPONENTS Interpreter)
function(embedd_install_man_page program component)
  if(NOT Python3_FOUND OR EMBEDD_SANITIZE OR NOT TARGET ${program})
    return()
  endif()
  install(CODE "
    set(page \"${PROJECT_BINARY_DIR}/man/${program}.1\")
    file(MAKE_DIRECTORY \"${PROJECT_BINARY_DIR}/man\")
    execute_process(COMMAND \"${Python3_EXECUTABLE}\" \"${PROJECT_SOURCE_DIR}/packaging/man_page.py\" \"$<TARGET_FILE:${program}>\"
      OUTPUT_FILE \"\${page}\" RESULT_VARIABLE code)
    if(NOT code EQUAL 0)
      message(FATAL_ERROR \"packaging/man_page.py could not make the manual page of ${program}\")
    endif()
    file(INSTALL \"\${page}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1\")"
    COMPONENT ${component})
endfunction()
embedd_install_man_page(embedd server)
embedd_install_man_page(embedctl ctl)
