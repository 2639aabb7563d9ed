// SPDX-License-Identifier: Apache-2.0
//
// The towers of a model. A device batch holds inputs of one of them; metrics and batch records name it.

#pragma once

#include <cstddef>

namespace embedd {

enum class Tower { kImage, kText };
inline constexpr Tower kAllTowers[] = {Tower::kImage, Tower::kText};
inline constexpr size_t kTowers = 2;

// "image" or "text", as flags, metrics and records say it.
constexpr const char* TowerName(Tower tower) { return tower == Tower::kImage ? "image" : "text"; }

}  // namespace embedd
