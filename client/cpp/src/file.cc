// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/file.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace embedd::client::internal {

absl::StatusOr<uint64_t> FileBytes(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return absl::NotFoundError("there is no such file");
  if (error)
    return absl::PermissionDeniedError(error.message());  // a folder on the way, a loop of links, a long name
  if (std::filesystem::is_directory(status))
    return absl::FailedPreconditionError("this is a folder, not a file");
  if (!std::filesystem::is_regular_file(status))
    return absl::FailedPreconditionError("this is not a regular file");
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::UnknownError(error.message());
  return size;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  const auto size = FileBytes(path);
  if (!size.ok()) return size.status();
  if (*size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", *size, " bytes; the limit is ", max_bytes));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::PermissionDeniedError("the file cannot be opened; check its permissions");
  std::string content(*size, '\0');
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  if (in.bad()) return absl::DataLossError("reading the file failed");
  content.resize(static_cast<size_t>(in.gcount()));
  return content;
}

}  // namespace embedd::client::internal
