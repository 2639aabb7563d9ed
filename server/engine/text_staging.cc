// SPDX-License-Identifier: Apache-2.0

#include "server/engine/text_staging.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

std::vector<int32_t> Ids(const uint8_t* text, int count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::memcpy(ids.data(), text, ids.size() * sizeof(int32_t));
  return ids;
}

// The place of the token that becomes the embedding.
int64_t Pooled(const std::vector<int32_t>& ids, const TextSpec& spec) {
  switch (spec.pooling) {
    case TextPooling::kArgmax:
      return std::max_element(ids.begin(), ids.end()) - ids.begin();
    case TextPooling::kFirstEos: {
      const auto found = std::find(ids.begin(), ids.end(), spec.eos_id);
      return found == ids.end() ? 0 : found - ids.begin();
    }
    case TextPooling::kLast:
      break;
  }
  return static_cast<int64_t>(ids.size()) - 1;
}

}  // namespace

absl::Status CheckIds(const TowerConfig& config, absl::Span<const uint8_t* const> texts) {
  for (const uint8_t* text : texts) {
    for (const int32_t id : Ids(text, config.context_length)) {
      if (id < 0 || id >= config.vocabulary) {
        return absl::InternalError(
            absl::StrCat("token ", id, " is not in the vocabulary of ", config.vocabulary));
      }
    }
  }
  return absl::OkStatus();
}

at::Tensor ForwardTexts(const Encoder& tower, const TowerConfig& config, const TextSpec& spec,
                        absl::Span<const uint8_t* const> texts, int64_t count, at::Device device) {
  const int64_t n = static_cast<int64_t>(texts.size()), length = config.context_length;
  const int64_t rows = device.is_cpu() ? n : count;
  at::Tensor ids = at::zeros({rows, length}, at::kLong), pooled = at::zeros({rows}, at::kLong);
  int64_t *to = ids.mutable_data_ptr<int64_t>(), *places = pooled.mutable_data_ptr<int64_t>();
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<int32_t> text = Ids(texts[i], config.context_length);
    std::copy(text.begin(), text.end(), to + i * length);
    places[i] = Pooled(text, spec);
    last = std::max(last, places[i]);
  }
  if (device.is_cpu()) {
    return tower.ForwardText(config.causal ? ids.narrow(1, 0, last + 1).contiguous() : ids, pooled);
  }
  return tower.ForwardText(ids.to(device, /*non_blocking=*/false), pooled.to(device, /*non_blocking=*/false));
}

}  // namespace embedd
