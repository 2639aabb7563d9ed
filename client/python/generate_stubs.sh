#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the checked-in protobuf stubs of the Python client, src/embedd/v1/, from proto/embedd/v1/*.proto.
#
# Generated code refuses to load with a runtime older than its compiler, so the stubs come from the oldest compiler
# that the package supports: protoc 3.21, as grpcio-tools 1.49.1 carries it. Newer runtimes (protobuf 4.21 to 7) load
# them. The compiler lives in a throw-away environment; nothing else is installed.
#
#   client/python/generate_stubs.sh           write the stubs
#   client/python/generate_stubs.sh --check   exit 1 when the checked-in stubs are out of date
set -euo pipefail

readonly TOOLS='grpcio-tools==1.49.1'
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
python="${PYTHON:-python3}"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

if [[ -n "${EMBEDD_STUBS_PYTHON:-}" ]]; then
  compiler="$EMBEDD_STUBS_PYTHON"  # an interpreter that has the tools already
else
  "$python" -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$TOOLS" 'setuptools<80'
  compiler="$work/venv/bin/python"
fi

mkdir "$work/out"
(cd "$root/proto" && "$compiler" -W ignore -m grpc_tools.protoc -I . \
  --python_out="$work/out" --pyi_out="$work/out" --grpc_python_out="$work/out" \
  embedd/v1/embedding_service.proto)
(cd "$root/proto" && "$compiler" -W ignore -m grpc_tools.protoc -I . \
  --python_out="$work/out" --pyi_out="$work/out" embedd/v1/rpc_status.proto)

target="$here/src/embedd/v1"
if [[ "${1:-}" == "--check" ]]; then
  for made in "$work"/out/embedd/v1/*; do
    if ! cmp -s "$made" "$target/$(basename "$made")"; then
      echo "stubs are out of date: $(basename "$made"); run client/python/generate_stubs.sh" >&2
      exit 1
    fi
  done
  echo "stubs are up to date"
else
  cp "$work"/out/embedd/v1/* "$target/"
  ls "$target"
fi
