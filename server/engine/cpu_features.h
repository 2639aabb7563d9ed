// SPDX-License-Identifier: Apache-2.0
//
// What this processor multiplies in hardware, as LibTorch sees it. The header does not see LibTorch.

#pragma once

#include <initializer_list>

namespace embedd {

// True when it has one of the features, by LibTorch's names ("avx512_f").
bool CpuHasAny(std::initializer_list<const char*> names);

// True with AVX-512 BF16 or AMX; without it bf16 is slower than f32.
bool CpuMultipliesBf16();

// True when it sums products of bytes without loss (VNNI, AMX).
bool CpuMultipliesInt8();

}  // namespace embedd
