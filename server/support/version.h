// SPDX-License-Identifier: Apache-2.0
//
// The version of this build, as CMakeLists.txt names it.

#pragma once

#include <string_view>

namespace embedd {

// For example "0.1.0".
std::string_view Version();

}  // namespace embedd
