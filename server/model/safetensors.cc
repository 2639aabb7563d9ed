// SPDX-License-Identifier: Apache-2.0

#include "server/model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and is used in place");

constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the reference reader

TensorType ParseType(const std::string& name) {
  for (TensorType type : {TensorType::kF64, TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    if (name == TensorTypeName(type)) return type;
  }
  return TensorType::kOther;
}

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file) {}

  absl::StatusOr<TensorMap> Read() {
    if (absl::Status status = ReadHeader(); !status.ok()) return status;
    if (absl::Status status = CheckCoverage(); !status.ok()) return status;
    return std::move(tensors_);
  }

 private:
  absl::Status FileError(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": ", message));
  }
  absl::Status Error(absl::string_view tensor, absl::string_view message) const {
    return FileError(absl::StrCat("tensor \"", Printable(tensor), "\": ", message));
  }
  absl::Status ReadHeader();
  absl::Status AddTensor(const std::string& name, const nlohmann::json& entry);
  absl::Status ReadShape(const std::string& name, const nlohmann::json& shape, TensorView* view) const;
  absl::Status CheckCoverage() const;

  const MappedFile& file_;
  const uint8_t* data_ = nullptr;  // what follows the header
  uint64_t data_size_ = 0;
  TensorMap tensors_;
};

absl::Status Reader::ReadHeader() {
  if (file_.size() < 8) return FileError("is too short to be a safetensors file");
  uint64_t header_size;
  std::memcpy(&header_size, file_.data(), 8);
  if (header_size > kLongestHeader || header_size > file_.size() - 8) {
    return FileError(absl::StrCat("the header claims ", header_size, " bytes, the file has ", file_.size(),
                                  ": truncated, or not a safetensors file"));
  }
  const absl::string_view text = file_.text().substr(8, header_size);
  if (text.empty() || text[0] != '{') return FileError("the header is not a JSON object");
  absl::StatusOr<nlohmann::json> header = ParseJson(text, file_.path(), /*max_depth=*/3);
  if (!header.ok()) return header.status();

  data_ = file_.data() + 8 + header_size;
  data_size_ = file_.size() - 8 - header_size;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") continue;
    if (absl::Status status = AddTensor(name, entry); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Reader::AddTensor(const std::string& name, const nlohmann::json& entry) {
  if (!entry.is_object() || entry.size() != 3) return Error(name, "must have dtype, shape and data_offsets");
  const auto dtype = entry.find("dtype"), shape = entry.find("shape"), offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return Error(name, "has no dtype");
  if (shape == entry.end() || !shape->is_array()) return Error(name, "has no shape");
  TensorView view;
  view.type_name = Printable(dtype->get<std::string>());
  view.type = ParseType(view.type_name);
  if (absl::Status status = ReadShape(name, *shape, &view); !status.ok()) return status;
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return Error(name, "has no data_offsets");
  }
  const uint64_t begin = (*offsets)[0].get<uint64_t>(), end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > data_size_) return Error(name, "lies outside the file");
  if (view.type == TensorType::kOther) view.bytes = static_cast<int64_t>(end - begin);
  if (end - begin != static_cast<uint64_t>(view.bytes)) {
    return Error(name, absl::StrCat("has ", end - begin, " bytes, its shape needs ", view.bytes));
  }
  view.data = data_ + begin;
  tensors_.emplace(name, std::move(view));
  return absl::OkStatus();
}

absl::Status Reader::ReadShape(const std::string& name, const nlohmann::json& shape, TensorView* view) const {
  view->bytes = TensorTypeBytes(view->type);
  for (const auto& dim : shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > uint64_t{INT64_MAX})
      return Error(name, "bad shape");
    view->shape.push_back(dim.get<int64_t>());
    if (__builtin_mul_overflow(view->bytes, view->shape.back(), &view->bytes))
      return Error(name, "shape is too large");
  }
  return absl::OkStatus();
}

absl::Status Reader::CheckCoverage() const {
  std::vector<std::pair<const TensorView*, const std::string*>> in_order;
  for (const auto& [name, view] : tensors_) in_order.emplace_back(&view, &name);
  std::sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) {
    return a.first->data != b.first->data ? a.first->data < b.first->data : a.first->bytes < b.first->bytes;
  });
  const uint8_t* expected = data_;
  for (const auto& [view, name] : in_order) {
    if (view->data < expected) return Error(*name, "overlaps the tensor before it");
    if (view->data > expected) return Error(*name, "leaves a hole before it");
    expected += view->bytes;
  }
  const uint64_t left = data_size_ - static_cast<uint64_t>(expected - data_);
  return left == 0 ? absl::OkStatus() : FileError(absl::StrCat(left, " bytes after the last tensor"));
}

}  // namespace

absl::StatusOr<TensorMap> ReadSafetensors(const MappedFile& file) { return Reader(file).Read(); }

}  // namespace embedd
