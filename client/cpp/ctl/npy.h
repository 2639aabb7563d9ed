// SPDX-License-Identifier: Apache-2.0
//
// NumPy files of vectors: written as [N, D] float32; read as f4 or f2, little-endian, C order, two
// dimensions.

#pragma once

#include <cstddef>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace embedd::ctl {

struct Matrix {
  std::vector<float> values;  // row-major
  size_t rows = 0;
  size_t columns = 0;

  std::span<const float> row(size_t i) const { return std::span(values).subspan(i * columns, columns); }
};

// What stands before the numbers in a .npy file of float32.
std::string NpyHeader(size_t rows, size_t columns);

// A .npy file, written as its rows come. It stands beside its place as PATH.part until it is whole, so that
// an earlier file of the name is kept when the job fails; a PATH that is no regular file is written to
// directly.
class NpyFile {
 public:
  explicit NpyFile(std::string path);
  ~NpyFile();
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;

  // PERMISSION_DENIED, naming the file, once it could not be opened or written.
  absl::Status status() const;
  // Rows of `columns` numbers; `rows` is how many the file will have in the end. Both the same every time.
  absl::Status Append(std::span<const float> values, size_t rows, size_t columns);
  absl::Status Finish();

 private:
  const std::string path_;
  const std::string part_;
  std::ofstream out_;
  bool begun_ = false;
};

// Errors: INVALID_ARGUMENT, saying what the file holds and how to save it so that it can be read.
absl::StatusOr<Matrix> ParseNpy(std::string_view content);

// The member NAME.npy of an .npz file; an empty `name` takes the only one. Members must be stored, as
// np.savez does. Errors: as ParseNpy; compressed members (np.savez_compressed) are refused.
absl::StatusOr<Matrix> ParseNpz(std::string_view content, const std::string& name);

// Either, told apart by content. Errors name the file.
absl::StatusOr<Matrix> ReadMatrix(const std::string& path, const std::string& name);

}  // namespace embedd::ctl
