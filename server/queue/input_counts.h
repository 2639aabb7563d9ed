// SPDX-License-Identifier: Apache-2.0
//
// InputCounts: how many inputs wait, by tower and lane. Plain data; told by LaneQueue, read by whoever
// reckons how long a call will take.

#pragma once

#include "server/telemetry/per_tower.h"

namespace embedd {

enum class Lane { kInteractive, kBulk };

// How many items, by lane.
struct LaneSizes {
  int interactive = 0;
  int bulk = 0;
};

struct InputCounts {
  PerTower<LaneSizes> by_tower;

  int& At(Tower tower, Lane lane) {
    LaneSizes& sizes = by_tower[tower];
    return lane == Lane::kBulk ? sizes.bulk : sizes.interactive;
  }
  void Add(const InputCounts& more) {
    for (const Tower tower : kAllTowers) {
      by_tower[tower].interactive += more.by_tower[tower].interactive;
      by_tower[tower].bulk += more.by_tower[tower].bulk;
    }
  }
  int of(Tower tower) const { return by_tower[tower].interactive + by_tower[tower].bulk; }
  // Of both towers.
  LaneSizes by_lane() const {
    LaneSizes sum;
    for (const Tower tower : kAllTowers) {
      sum.interactive += by_tower[tower].interactive;
      sum.bulk += by_tower[tower].bulk;
    }
    return sum;
  }
};

}  // namespace embedd
