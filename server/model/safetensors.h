// SPDX-License-Identifier: Apache-2.0
//
// SafetensorsFile: reads a .safetensors file without copying it (memory-mapped). Everything the header claims
// is checked against the file before any tensor can be used: header length, JSON, types, shapes (with
// overflow), offsets (no hole, no overlap, nothing beyond the end). Used by the folder readers; knows no
// LibTorch. The mapping lives as long as the object. Format: https://github.com/huggingface/safetensors
// (README, "Format").

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

// F64 and I64 occur in tensors that the tower does not use (position ids); everything else is refused.
enum class TensorType { kF32, kF16, kBF16, kF64, kI64 };

int64_t TensorTypeBytes(TensorType type);
// As the format spells it: "F32".
absl::string_view TensorTypeName(TensorType type);

// A tensor as it lies in the file: row-major, little-endian, `data` aligned to its type.
struct TensorView {
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  int64_t bytes = 0;
};

class SafetensorsFile {
 public:
  // Errors: kNotFound when it cannot be opened; kInvalidArgument, naming file and tensor, when it is not well
  // formed.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

  // kDataLoss when the file was written to or cut since it was opened: reading on could kill the process or
  // load other weights. A file that was replaced by another (renamed over) is fine, the mapping keeps the old
  // one.
  absl::Status CheckUnchanged() const;

 private:
  SafetensorsFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status Map();
  absl::Status ReadHeader();
  absl::Status AddTensor(const std::string& name, const nlohmann::json& entry, const uint8_t* data,
                         uint64_t data_size);
  absl::Status CheckCoverage(const uint8_t* data, uint64_t data_size) const;
  void CopyMisaligned();
  absl::Status Error(absl::string_view tensor, absl::string_view message) const;

  const std::string path_;
  const int fd_;
  const uint8_t* map_ = nullptr;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  std::map<std::string, TensorView> tensors_;
  std::vector<std::unique_ptr<uint8_t[]>> aligned_copies_;  // of tensors that lie askew in the file
};

}  // namespace embedd
