# cmake --install of the components "server" and "ctl" into an empty folder: the programs run from there, and what belongs to it is there.
# Called by ctest; see CMakeLists.txt for the variables.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
set(prefix ${WORK}/prefix)
foreach(component server ctl)
  run(${CMAKE_COMMAND} --install ${BUILD} --component ${component} --prefix ${prefix})
endforeach()
set(files bin/embedd bin/embedctl share/man/man1/embedd.1 share/man/man1/embedctl.1
  share/bash-completion/completions/embedd share/bash-completion/completions/embedctl
  share/doc/embedd/README.md share/doc/embedd/LICENSE share/doc/embedd/docs/operations.md
  share/doc/embedd/examples/embedd.conf share/embedd/proto/embedd/v1/embedding_service.proto)
if(APPLE)
  list(APPEND files share/embedd/dev.embedd.server.plist)
else()
  list(APPEND files lib/systemd/system/embedd.service lib/sysusers.d/embedd.conf)
endif()
foreach(file IN LISTS files)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} is not installed")
  endif()
endforeach()

run(${prefix}/bin/embedd --version)
if(NOT output STREQUAL "embedd ${VERSION}\n")
  message(FATAL_ERROR "the installed server says: ${output}")
endif()
# The example settings are settings.
run(${prefix}/bin/embedd --config ${prefix}/share/doc/embedd/examples/embedd.conf --print-config)
if(NOT output MATCHES "/var/lib/embedd/model[^\n]*file")
  message(FATAL_ERROR "the example settings are read as: ${output}")
endif()

# Every flag of --help stands in the manual page.
run(${prefix}/bin/embedd --help)
string(REGEX MATCHALL "\n  --[a-z0-9-]+" flags "${output}")
file(READ ${prefix}/share/man/man1/embedd.1 page)
string(REPLACE "\\-" "-" page "${page}")
foreach(flag IN LISTS flags)
  string(STRIP "${flag}" flag)
  string(FIND "${page}" "fB${flag}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "embedd.1 does not have ${flag}")
  endif()
endforeach()
find_program(MAN man)
find_program(GROFF groff)
if(MAN AND GROFF)
  foreach(name embedd embedctl)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C.UTF-8 MANWIDTH=80 ${MAN} --warnings -l ${prefix}/share/man/man1/${name}.1
      OUTPUT_QUIET ERROR_VARIABLE warnings)
    if(warnings MATCHES "troff|warning")
      message(FATAL_ERROR "${name}.1: ${warnings}")
    endif()
  endforeach()
endif()

if(NOT APPLE)
  file(READ ${prefix}/lib/systemd/system/embedd.service unit)
  if(NOT unit MATCHES "ExecStart=${prefix}/bin/embedd --config /etc/embedd/embedd.conf")
    message(FATAL_ERROR "the unit does not start the installed server: ${unit}")
  endif()
  find_program(SYSTEMD_ANALYZE systemd-analyze)
  if(SYSTEMD_ANALYZE)
    run(${SYSTEMD_ANALYZE} verify --man=no ${prefix}/lib/systemd/system/embedd.service)
    if(output MATCHES "embedd.service")
      message(FATAL_ERROR "systemd-analyze verify: ${output}")
    endif()
  endif()
endif()
# Completion answers with flags and with values.
find_program(BASH bash)
file(WRITE ${WORK}/complete.bash [[
source "$1/share/bash-completion/completions/embedd"
COMP_WORDS=("$1/bin/embedd" --drain-) COMP_CWORD=1
_embedd
echo "${COMPREPLY[@]}"
COMP_WORDS=("$1/bin/embedd" --dtype b) COMP_CWORD=2
_embedd
echo "${COMPREPLY[@]}"
]])
run(${BASH} ${WORK}/complete.bash ${prefix})
if(NOT output MATCHES "--drain-timeout --drain-delay\nbf16")
  message(FATAL_ERROR "completion answers: ${output}")
endif()
