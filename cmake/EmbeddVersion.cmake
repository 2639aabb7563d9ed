# EMBEDD_VERSION, from the one place where it stands: the Python client, whose package cannot read what lies above its folder.
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/../client/python/src/embedd/_version.py _version_line REGEX "^__version__ = ")
string(REGEX REPLACE "^__version__ = \"(.*)\"$" "\\1" EMBEDD_VERSION "${_version_line}")
