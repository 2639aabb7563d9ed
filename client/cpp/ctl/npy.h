// SPDX-License-Identifier: Apache-2.0
//
// NumPy files of vectors: written as [N, D] float32; read as f4 or f2, little-endian, C order, two
// dimensions.

#pragma once

#include <cstddef>
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

// Content of a .npy file.
std::string WriteNpy(std::span<const float> values, size_t rows, size_t columns);
// Errors: INVALID_ARGUMENT, saying what the file holds and how to save it so that it can be read.
absl::StatusOr<Matrix> ParseNpy(std::string_view content);

// The member NAME.npy of an .npz file; an empty `name` takes the only one. Members must be stored, as
// np.savez does. Errors: as ParseNpy; compressed members (np.savez_compressed) are refused.
absl::StatusOr<Matrix> ParseNpz(std::string_view content, const std::string& name);

// Either, told apart by content. Errors name the file.
absl::StatusOr<Matrix> ReadMatrix(const std::string& path, const std::string& name);

}  // namespace embedd::ctl
