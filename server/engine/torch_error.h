// SPDX-License-Identifier: Apache-2.0
//
// The edge between LibTorch's exceptions and absl::Status. Used by TorchExecutor; the header does not see
// LibTorch.

#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace embedd {

// Runs `work` and turns whatever it throws into a status. When this returns, the exception is destroyed and
// everything that `work` held on its stack is gone, tensors too: only then is their memory free. Errors:
// kResourceExhausted (out of memory), kUnavailable (the device is lost), kInternal (anything else).
absl::Status CatchTorch(absl::FunctionRef<void()> work);

// What CatchTorch makes of an exception's message. `out_of_memory`: its type says so already.
absl::Status ClassifyTorchError(absl::string_view message, bool out_of_memory);

}  // namespace embedd
