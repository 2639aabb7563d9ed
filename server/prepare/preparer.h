// SPDX-License-Identifier: Apache-2.0
//
// Preparer: what a thread of the PreparePool does with an input: bytes in, what the tower takes out, into the
// queue for the device. An input that is bad is answered and goes no further. Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "server/model/model_spec.h"
#include "server/prepare/image/image_decoder.h"
#include "server/prepare/prepare_pool.h"
#include "server/queue/bounded_queue.h"
#include "server/telemetry/metrics.h"

namespace embedd {

// Bytes of one prepared input of a tower: see EmbedTask::pixels.
int64_t PreparedBytes(const ModelSpec& model, Tower tower);

// An input as it is prepared that every such model takes: a grey picture, of the most patches where their
// number varies, or a text of token 0 alone, which every vocabulary has.
std::vector<uint8_t> BlankInput(const ModelSpec& model, Tower tower);

// The ids of a text, as many as the context is long. Thread-safe.
using TextEncoder = std::function<std::vector<int32_t>(absl::string_view text)>;

class Preparer {
 public:
  struct Deps {
    Clock* clock;
    Metrics* metrics;
    const ImageDecoder* decoder;
    const std::atomic<const ModelSpec*>* model;  // set before the first input comes
    const TextEncoder* encode_text;              // set before the first text comes
    BoundedQueue* queue;
    PrepareCost* cost;  // told what each took
  };
  explicit Preparer(const Deps& deps) : deps_(deps) {}

  void Prepare(PrepareItem item) const;

 private:
  const Deps deps_;
};

}  // namespace embedd
