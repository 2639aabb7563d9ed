// SPDX-License-Identifier: Apache-2.0
//
// The rules that join several settings. Called by ParseConfig only.

#pragma once

#include "absl/status/status.h"
#include "server/config/config.h"

namespace embedd {

// InvalidArgument names the flag that is wrong or missing, and the fix. Looks whether the TLS and token files
// can be read; whether they make sense is found when they are used.
absl::Status CheckConfig(const Config& config);

}  // namespace embedd
