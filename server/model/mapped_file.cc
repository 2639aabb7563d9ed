// SPDX-License-Identifier: Apache-2.0

#include "server/model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

int64_t ModifiedNanos(const struct stat& info) {
#ifdef __APPLE__
  return int64_t{info.st_mtimespec.tv_sec} * 1'000'000'000 + info.st_mtimespec.tv_nsec;
#else
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: a pipe in place of the file must not hold the start; it means nothing for a regular file.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened: ", strerror(errno)));
  std::unique_ptr<MappedFile> file(new MappedFile(path, fd));
  if (absl::Status status = file->Map(); !status.ok()) return status;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
  close(fd_);
}

absl::Status MappedFile::Map() {
  struct stat info;
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": is not a regular file"));
  }
  if (info.st_size == 0) return absl::InvalidArgumentError(absl::StrCat(path_, ": is empty"));
  modified_ns_ = ModifiedNanos(info);
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  void* map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (map == MAP_FAILED)
    return absl::ResourceExhaustedError(absl::StrCat(path_, ": mmap: ", strerror(errno)));
  data_ = static_cast<const uint8_t*>(map);
  size_ = size;
  return absl::OkStatus();
}

absl::Status MappedFile::CheckUnchanged() const {
  struct stat info;
  if (fstat(fd_, &info) != 0 || static_cast<uint64_t>(info.st_size) != size_ ||
      ModifiedNanos(info) != modified_ns_) {
    return absl::DataLossError(absl::StrCat(path_, ": was changed on disk while the server was using it"));
  }
  return absl::OkStatus();
}

void MappedFile::DropPages() const { madvise(const_cast<uint8_t*>(data_), size_, MADV_DONTNEED); }

}  // namespace embedd
