// SPDX-License-Identifier: Apache-2.0

#include "server/model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is used in place");

constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the reference reader

std::optional<TensorType> ParseType(const std::string& name) {
  for (TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kF64, TensorType::kI64}) {
    if (name == TensorTypeName(type)) return type;
  }
  return std::nullopt;
}

int64_t ModifiedNanos(const struct stat& info) {
#ifdef __APPLE__
  return int64_t{info.st_mtimespec.tv_sec} * 1'000'000'000 + info.st_mtimespec.tv_nsec;
#else
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
#endif
}

}  // namespace

int64_t TensorTypeBytes(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return 4;
    case TensorType::kF16:
    case TensorType::kBF16:
      return 2;
    case TensorType::kF64:
    case TensorType::kI64:
      return 8;
  }
  return 0;
}

absl::string_view TensorTypeName(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return "F32";
    case TensorType::kF16:
      return "F16";
    case TensorType::kBF16:
      return "BF16";
    case TensorType::kF64:
      return "F64";
    case TensorType::kI64:
      return "I64";
  }
  return "?";
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened: ", strerror(errno)));
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(path, fd));
  if (absl::Status status = file->Map(); !status.ok()) return status;
  if (absl::Status status = file->ReadHeader(); !status.ok()) return status;
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(const_cast<uint8_t*>(map_), size_);
  close(fd_);
}

absl::Status SafetensorsFile::Error(absl::string_view tensor, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor \"", Printable(tensor), "\": ", message));
}

absl::Status SafetensorsFile::Map() {
  struct stat info;
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": is not a regular file"));
  }
  size_ = static_cast<uint64_t>(info.st_size);
  modified_ns_ = ModifiedNanos(info);
  if (size_ < 8)
    return absl::InvalidArgumentError(absl::StrCat(path_, ": is too short to be a safetensors file"));
  void* map = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (map == MAP_FAILED)
    return absl::ResourceExhaustedError(absl::StrCat(path_, ": mmap: ", strerror(errno)));
  map_ = static_cast<const uint8_t*>(map);
  return absl::OkStatus();
}

absl::Status SafetensorsFile::ReadHeader() {
  uint64_t header_size;
  std::memcpy(&header_size, map_, 8);
  if (header_size > kLongestHeader || header_size > size_ - 8) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": the header claims ", header_size,
                                                   " bytes, the file has ", size_,
                                                   ": truncated, or not a safetensors file"));
  }
  const absl::string_view text(reinterpret_cast<const char*>(map_) + 8, header_size);
  if (text.empty() || text[0] != '{') {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": the header is not a JSON object"));
  }
  absl::StatusOr<nlohmann::json> header = ParseJson(text, path_, /*max_depth=*/3);
  if (!header.ok()) return header.status();

  const uint8_t* data = map_ + 8 + header_size;
  const uint64_t data_size = size_ - 8 - header_size;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") continue;
    if (absl::Status status = AddTensor(name, entry, data, data_size); !status.ok()) return status;
  }
  if (absl::Status status = CheckCoverage(data, data_size); !status.ok()) return status;
  CopyMisaligned();
  return absl::OkStatus();
}

absl::Status SafetensorsFile::AddTensor(const std::string& name, const nlohmann::json& entry,
                                        const uint8_t* data, uint64_t data_size) {
  if (!entry.is_object() || entry.size() != 3) return Error(name, "must have dtype, shape and data_offsets");
  const auto dtype = entry.find("dtype"), shape = entry.find("shape"), offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return Error(name, "has no dtype");
  const std::optional<TensorType> type = ParseType(dtype->get<std::string>());
  if (!type) {
    const std::string given = Printable(dtype->get<std::string>());
    return Error(name, absl::StrCat("dtype ", given, " is not supported (F32, F16 and BF16 are)"));
  }
  if (shape == entry.end() || !shape->is_array()) return Error(name, "has no shape");
  TensorView view;
  view.type = *type;
  view.bytes = TensorTypeBytes(*type);
  for (const auto& dim : *shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > uint64_t{INT64_MAX})
      return Error(name, "bad shape");
    view.shape.push_back(dim.get<int64_t>());
    if (__builtin_mul_overflow(view.bytes, view.shape.back(), &view.bytes))
      return Error(name, "shape is too large");
  }
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return Error(name, "has no data_offsets");
  }
  const uint64_t begin = (*offsets)[0].get<uint64_t>(), end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > data_size) return Error(name, "lies outside the file");
  if (end - begin != static_cast<uint64_t>(view.bytes)) {
    return Error(name, absl::StrCat("has ", end - begin, " bytes, its shape needs ", view.bytes));
  }
  view.data = data + begin;
  tensors_.emplace(name, std::move(view));
  return absl::OkStatus();
}

absl::Status SafetensorsFile::CheckCoverage(const uint8_t* data, uint64_t data_size) const {
  std::vector<std::pair<const TensorView*, const std::string*>> in_order;
  for (const auto& [name, view] : tensors_) in_order.emplace_back(&view, &name);
  std::sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) {
    return a.first->data != b.first->data ? a.first->data < b.first->data : a.first->bytes < b.first->bytes;
  });
  const uint8_t* expected = data;
  for (const auto& [view, name] : in_order) {
    if (view->data < expected) return Error(*name, "overlaps the tensor before it");
    if (view->data > expected) return Error(*name, "leaves a hole before it");
    expected += view->bytes;
  }
  const uint64_t left = data_size - static_cast<uint64_t>(expected - data);
  if (left == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", left, " bytes after the last tensor"));
}

// The usual writer aligns every tensor, the format does not promise it.
void SafetensorsFile::CopyMisaligned() {
  for (auto& [name, view] : tensors_) {
    if (reinterpret_cast<uintptr_t>(view.data) % TensorTypeBytes(view.type) == 0) continue;
    aligned_copies_.push_back(std::make_unique<uint8_t[]>(view.bytes));
    if (view.bytes > 0) std::memcpy(aligned_copies_.back().get(), view.data, view.bytes);
    view.data = aligned_copies_.back().get();
  }
}

absl::Status SafetensorsFile::CheckUnchanged() const {
  struct stat info;
  if (fstat(fd_, &info) != 0 || static_cast<uint64_t>(info.st_size) != size_ ||
      ModifiedNanos(info) != modified_ns_) {
    return absl::DataLossError(absl::StrCat(path_, ": was changed on disk while the server was using it"));
  }
  return absl::OkStatus();
}

}  // namespace embedd
