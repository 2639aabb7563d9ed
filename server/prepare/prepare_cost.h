// SPDX-License-Identifier: Apache-2.0
//
// PrepareCost: how long it takes one thread to prepare an input, learned from those that were prepared. The
// pool orders its work by it, and admission counts it. Thread-safe.

#pragma once

#include <cstdint>
#include <map>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/prepare/image/image_format.h"
#include "server/support/mutex.h"

namespace embedd {

// What is known of an input before it is prepared: enough to tell what it will cost.
struct PrepareLoad {
  // What takes one time for each unit, and what the units are: pixels of a picture, as its header says, bytes
  // of anything else.
  int kind = 0;
  int64_t units = 1;

  static PrepareLoad OfFile(absl::string_view file, const FormatSet& formats = FormatSet());
  static PrepareLoad OfRaw(int64_t pixels) { return {.kind = kRaw, .units = pixels}; }
  static PrepareLoad OfText(absl::string_view text) {
    return {.kind = kText, .units = static_cast<int64_t>(text.size())};
  }

  static constexpr int kRaw = 0, kText = 1, kUnknown = 2, kFirstFormat = 3;
};

class PrepareCost {
 public:
  // An input was prepared, well.
  void Add(const PrepareLoad& load, absl::Duration took);

  // Expected time. Guessed from what is like it where nothing was measured; always above zero.
  absl::Duration Of(const PrepareLoad& load) const;

  // Whether anything was measured: guesses are good enough for an order, but refuse nobody.
  bool measured() const;

 private:
  struct Mean {
    double seconds = 0;  // for a unit
    int samples = 0;
  };

  mutable Mutex mu_;
  // By kind and size, in powers of two: a large picture costs less by the pixel, where it may be shrunk while
  // it is decoded.
  std::map<int, std::map<int, Mean>> means_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd
