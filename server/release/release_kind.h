// SPDX-License-Identifier: Apache-2.0
//
// ReleaseKind: the ways of --release to give cached device memory back, the one table of them. What each does
// is ReleasePolicy's.

#pragma once

#include "absl/strings/string_view.h"
#include "server/support/word_table.h"

namespace embedd {

enum class ReleaseKind : unsigned char {
  kNever,      // fastest; the process keeps its high-water mark
  kWatermark,  // when the cache is a large part of what the server may hold
  kIdle,       // after a pause without work
  kAlways,     // after every batch; slowest
};

struct ReleaseKindRow {
  ReleaseKind value;
  absl::string_view word;
};

inline constexpr ReleaseKindRow kReleaseKinds[] = {{ReleaseKind::kNever, "never"},
                                                   {ReleaseKind::kWatermark, "watermark"},
                                                   {ReleaseKind::kIdle, "idle"},
                                                   {ReleaseKind::kAlways, "always"}};

constexpr absl::string_view ReleaseWord(ReleaseKind kind) { return RowIn(kReleaseKinds, kind).word; }

}  // namespace embedd
