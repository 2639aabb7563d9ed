// SPDX-License-Identifier: Apache-2.0
//
// ReadStateDictPickle: the data.pkl of a checkpoint, protocol 2, as a list of tensors: which storage, where
// in it, which shape. Reads the instructions of Python's pickletools that torch.save writes and no others;
// calls nothing. Used by ReadCheckpoint, which checks the numbers against the storages.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace embedd {

struct PickledTensor {
  std::string name;
  std::string storage_type;  // "FloatStorage"
  std::string storage_key;   // the entry data/KEY of the file
  int64_t storage_elements = 0;
  int64_t offset = 0;  // in elements, as sizes and strides are; none of the numbers is checked
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

// Errors: kInvalidArgument for what is no whole pickle, kUnimplemented for a name or an instruction that is
// not among those of a state dict; the message names it, and starts with `file`.
absl::StatusOr<std::vector<PickledTensor>> ReadStateDictPickle(absl::string_view pickle,
                                                               const std::string& file);

}  // namespace embedd
