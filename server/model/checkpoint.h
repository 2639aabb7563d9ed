// SPDX-License-Identifier: Apache-2.0
//
// ReadCheckpoint: the tensors of a checkpoint of torch.save (pytorch_model.bin), without running anything in
// it. A pickle is a program; this reader knows the instructions and the seven names that a state dict of
// tensors needs, and refuses everything else by name. Every place and stride is checked against the bytes
// that are there. Used by WeightFiles; knows no LibTorch.

#pragma once

#include "absl/status/statusor.h"
#include "server/model/mapped_file.h"
#include "server/model/tensor_view.h"

namespace embedd {

// Views into `file`. The state dict may stand alone or under "state_dict" of a training checkpoint. Errors:
// kInvalidArgument when the file is not well formed, kUnimplemented when it holds what is not read; both name
// file and tensor.
absl::StatusOr<TensorMap> ReadCheckpoint(const MappedFile& file);

}  // namespace embedd
