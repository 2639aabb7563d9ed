// SPDX-License-Identifier: Apache-2.0
//
// Reads a whole regular file.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace embedd::client::internal {

// Bytes of a regular file. Errors say why the file cannot be read, without its name.
absl::StatusOr<uint64_t> FileBytes(const std::string& path);

// The content. Errors: as FileBytes, or INVALID_ARGUMENT when the file is larger than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

}  // namespace embedd::client::internal
