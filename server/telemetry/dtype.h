// SPDX-License-Identifier: Apache-2.0
//
// Dtype: the number formats that a model runs in (--dtype), with their one table. Read by flags, the
// fingerprint, the engine and whatever tells people.

#pragma once

#include "absl/strings/string_view.h"
#include "server/support/word_table.h"

namespace embedd {

enum class Dtype : unsigned char { kAuto, kF32, kF16, kBf16, kInt8 };

struct DtypeRow {
  Dtype value;
  absl::string_view word;  // in flags, GetServerInfo and fingerprints: a changed word changes those
  // The least cosine to the CPU's f32 vectors with which a device is taken to compute the same model.
  double least_cosine;
};

// kAuto stands in flags and options only: a loaded model has one of the others. Of int8 the server measures
// the cosine itself (--int8-min-cosine).
inline constexpr DtypeRow kDtypes[] = {{Dtype::kAuto, "auto", 0},
                                       {Dtype::kF32, "f32", 0.99999},
                                       {Dtype::kF16, "f16", 0.999},
                                       {Dtype::kBf16, "bf16", 0.99},
                                       {Dtype::kInt8, "int8", 0}};

constexpr absl::string_view DtypeWord(Dtype dtype) { return RowIn(kDtypes, dtype).word; }

}  // namespace embedd
