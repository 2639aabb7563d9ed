// SPDX-License-Identifier: Apache-2.0

#include "server/engine/parallel_for.h"

#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

namespace embedd {

// An iterator over a tensor of n bytes, which nobody reads, divides them among the threads.
void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> work) {
  at::Tensor places = at::empty({n}, at::kByte);
  const char* const first = static_cast<const char*>(places.const_data_ptr());
  at::TensorIterator::nullary_op(places).for_each(
      [&](char** data, const int64_t*, int64_t count, int64_t) {  // one row: the tensor has one dimension
        work(data[0] - first, data[0] - first + count);
      },
      grain);
}

}  // namespace embedd
