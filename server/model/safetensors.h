// SPDX-License-Identifier: Apache-2.0
//
// ReadSafetensors: what lies where in a .safetensors file. Everything the header claims is checked against
// the file before any tensor can be used: header length, JSON, types, shapes (with overflow), offsets (no
// hole, no overlap, nothing beyond the end). Used by WeightFiles; knows no LibTorch. Format:
// https://github.com/huggingface/safetensors (README, "Format").

#pragma once

#include "absl/status/statusor.h"
#include "server/model/mapped_file.h"
#include "server/model/tensor_view.h"

namespace embedd {

// Views into `file`. Errors: kInvalidArgument, naming file and tensor, when it is not well formed.
absl::StatusOr<TensorMap> ReadSafetensors(const MappedFile& file);

}  // namespace embedd
