// SPDX-License-Identifier: Apache-2.0
//
// ParallelFor: a loop on LibTorch's own threads, for the kernels of this folder.

#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace embedd {

// Calls work(begin, end) for parts of [0, n) on LibTorch's own threads, at least `grain` numbers a part; on
// the calling thread alone when n is below it. Work must not depend on InferenceMode, which holds for the
// caller's thread only. Throws what work throws.
//
// at::parallel_for is compiled into its caller: built without the OpenMP that LibTorch was built with, as we
// are, it is a plain loop.
void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> work);

}  // namespace embedd
