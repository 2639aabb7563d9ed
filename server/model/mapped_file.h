// SPDX-License-Identifier: Apache-2.0
//
// MappedFile: the bytes of a file, read only, without a copy of it. Owned by WeightFiles; the views that the
// readers make point into it. The mapping lives as long as the object; its pages need not stay in the
// process.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

class MappedFile {
 public:
  // Errors: kNotFound when it cannot be opened, kInvalidArgument when it is no regular file or empty.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  absl::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  // kDataLoss when the file was written to or cut since it was opened: reading on could kill the process or
  // load other weights. A file that was replaced by another (renamed over) is fine, the mapping keeps the old
  // one.
  absl::Status CheckUnchanged() const;

  // The pages that were read no longer count as memory of this process; reading again takes them from the
  // system's cache of the file, or from the disk.
  void DropPages() const;

 private:
  MappedFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status Map();

  const std::string path_;
  const int fd_;
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
};

}  // namespace embedd
