// SPDX-License-Identifier: Apache-2.0
//
// InputCounts: how many inputs wait, by tower and lane. Plain data; kept by the queue and by the threads that
// prepare, read by whoever reckons how long a call will take.

#pragma once

#include "server/queue/lane_queue.h"
#include "server/telemetry/per_tower.h"

namespace embedd {

struct InputCounts {
  PerTower<LaneSizes> by_tower;

  int& At(Tower tower, Lane lane) {
    LaneSizes& sizes = by_tower[tower];
    return lane == Lane::kBulk ? sizes.bulk : sizes.interactive;
  }
  void Add(const InputCounts& more) {
    for (const Tower tower : {Tower::kImage, Tower::kText}) {
      by_tower[tower].interactive += more.by_tower[tower].interactive;
      by_tower[tower].bulk += more.by_tower[tower].bulk;
    }
  }
  int of(Tower tower) const { return by_tower[tower].interactive + by_tower[tower].bulk; }
  // Of both towers.
  LaneSizes by_lane() const {
    LaneSizes sum;
    for (const Tower tower : {Tower::kImage, Tower::kText}) {
      sum.interactive += by_tower[tower].interactive;
      sum.bulk += by_tower[tower].bulk;
    }
    return sum;
  }
};

}  // namespace embedd
