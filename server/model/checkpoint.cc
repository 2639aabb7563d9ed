// SPDX-License-Identifier: Apache-2.0

#include "server/model/checkpoint.h"

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"
#include "server/model/state_dict_pickle.h"
#include "server/model/stored_zip.h"

namespace embedd {
namespace {

using Entries = std::map<std::string, absl::string_view>;

constexpr uint64_t kLargestPickle = 16 << 20;

// How torch.save spells a type, and the size of its elements, which is known for those that are not read,
// too.
struct StorageType {
  absl::string_view name;
  TensorType type;
  int64_t bytes;
};
constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", TensorType::kF32, 4},     {"HalfStorage", TensorType::kF16, 2},
    {"BFloat16Storage", TensorType::kBF16, 2}, {"DoubleStorage", TensorType::kF64, 8},
    {"LongStorage", TensorType::kOther, 8},
};

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file) {}

  absl::StatusOr<TensorMap> Read() {
    if (absl::Status status = CheckKind(); !status.ok()) return status;
    absl::StatusOr<Entries> entries = ReadStoredZip(file_);
    if (!entries.ok()) return entries.status();
    entries_ = *std::move(entries);
    if (absl::Status status = FindRoot(); !status.ok()) return status;
    auto pickled = ReadStateDictPickle(entries_.at(root_ + "data.pkl"), file_.path());
    if (!pickled.ok()) return pickled.status();
    TensorMap tensors;
    for (const PickledTensor& tensor : *pickled) {
      absl::StatusOr<TensorView> view = View(tensor);
      if (!view.ok()) return view.status();
      tensors.emplace(tensor.name, *std::move(view));
    }
    return tensors;
  }

 private:
  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": ", message));
  }
  absl::Status Unsupported(absl::string_view message) const {
    return absl::UnimplementedError(absl::StrCat(file_.path(), ": ", message));
  }
  absl::Status CheckKind() const;
  absl::Status FindRoot();
  absl::StatusOr<TensorView> View(const PickledTensor& tensor) const;

  const MappedFile& file_;
  Entries entries_;
  std::string root_;  // "archive/": all entries lie in one folder
};

absl::Status Reader::CheckKind() const {
  if (absl::StartsWith(file_.text(), "PK\x03\x04")) return absl::OkStatus();
  // A pickle whose first object is the magic number of PyTorch before 1.6.
  if (absl::StartsWith(file_.text(),
                       absl::string_view("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14))) {
    return Unsupported("is a checkpoint in the format of PyTorch before 1.6, which is not read");
  }
  if (absl::StartsWith(file_.text(), "version https://git-lfs")) {
    return Error("is a pointer of Git LFS, not the weights: fetch them with \"git lfs pull\"");
  }
  return Error("is not a checkpoint of torch.save: it does not begin as a ZIP file does");
}

absl::Status Reader::FindRoot() {
  for (const auto& [name, bytes] : entries_) {
    if (!absl::EndsWith(name, "/data.pkl") || name.find('/') != name.size() - 9) continue;
    if (!root_.empty()) return Error("has more than one data.pkl");
    root_ = name.substr(0, name.size() - 8);
  }
  if (root_.empty()) return Error("is a ZIP file, but no checkpoint of torch.save: it has no data.pkl");
  if (entries_.count(root_ + "constants.pkl") != 0) {
    return Unsupported("is a TorchScript archive, which holds a program; only state dicts are read");
  }
  const auto order = entries_.find(root_ + "byteorder");
  if (order != entries_.end() && order->second != "little") return Unsupported("is not little-endian");
  if (entries_.at(root_ + "data.pkl").size() > kLargestPickle) return Error("data.pkl is over 16 MiB");
  return absl::OkStatus();
}

absl::StatusOr<TensorView> Reader::View(const PickledTensor& tensor) const {
  const auto error = [&](absl::string_view message) {
    return Error(absl::StrCat("tensor \"", Printable(tensor.name), "\": ", message));
  };
  const StorageType* type = kStorageTypes;
  while (type->name != tensor.storage_type) ++type;  // the pickle reader knows no others
  const auto entry = entries_.find(absl::StrCat(root_, "data/", tensor.storage_key));
  if (entry == entries_.end())
    return error(absl::StrCat("has no data: ", root_, "data/", Printable(tensor.storage_key), " is missing"));
  const absl::string_view storage = entry->second;
  int64_t storage_bytes;
  if (tensor.storage_elements < 0 ||
      __builtin_mul_overflow(tensor.storage_elements, type->bytes, &storage_bytes) ||
      static_cast<uint64_t>(storage_bytes) != storage.size()) {
    return error(absl::StrCat("its storage claims ", tensor.storage_elements, " elements and has ",
                              storage.size(), " bytes"));
  }
  if (tensor.shape.size() != tensor.strides.size()) return error("has more or fewer strides than dimensions");

  TensorView view{type->type, tensor.storage_type, tensor.shape, {}, nullptr, type->bytes};
  int64_t last = tensor.offset;  // the place of the last element
  bool fits = tensor.offset >= 0, empty = false, row_major = true;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    const int64_t size = tensor.shape[d], stride = tensor.strides[d];
    int64_t way;
    if (size < 0 || stride < 0) fits = false;
    if (size == 0) empty = true;
    if (size != 1 && stride != view.bytes / type->bytes) row_major = false;
    fits = fits && !__builtin_mul_overflow(view.bytes, size, &view.bytes);
    if (!fits || empty) continue;
    fits = !__builtin_mul_overflow(size - 1, stride, &way) && !__builtin_add_overflow(last, way, &last);
  }
  // An empty tensor may stand anywhere up to the end.
  if (!fits || (empty ? tensor.offset > tensor.storage_elements : last >= tensor.storage_elements)) {
    return error("reaches outside its storage");
  }
  if (!row_major && !empty) view.strides = tensor.strides;
  view.data = reinterpret_cast<const uint8_t*>(storage.data()) + tensor.offset * type->bytes;
  return view;
}

}  // namespace

absl::StatusOr<TensorMap> ReadCheckpoint(const MappedFile& file) { return Reader(file).Read(); }

}  // namespace embedd
