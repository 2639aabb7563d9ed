// SPDX-License-Identifier: Apache-2.0
//
// PerTower: one of each tower's. A text takes another time than a picture, so who reckons with what waits or
// runs counts them apart.

#pragma once

#include <cstddef>

#include "server/telemetry/tower.h"

namespace embedd {

template <typename T>
struct PerTower {
  T of[kTowers] = {};
  T& operator[](Tower tower) { return of[static_cast<size_t>(tower)]; }
  const T& operator[](Tower tower) const { return of[static_cast<size_t>(tower)]; }
};

}  // namespace embedd
