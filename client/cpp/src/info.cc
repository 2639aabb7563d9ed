// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/info.h"

namespace embedd::client::internal {
namespace {

ServerInfo::Model ModelOf(const v1::ModelInfo& m) {
  return {.name = m.name(),
          .architecture = m.architecture(),
          .fingerprint = m.fingerprint(),
          .dimension = m.dimension(),
          .image_height = m.image_height(),
          .image_width = m.image_width(),
          .resize_mode = m.resize_mode(),
          .interpolation = m.interpolation(),
          .mean = {m.mean().begin(), m.mean().end()},
          .std = {m.std().begin(), m.std().end()},
          .towers = {m.towers().begin(), m.towers().end()},
          .text_context_length = m.text_context_length(),
          .text_fingerprint = m.text_fingerprint(),
          .similarity = m.similarity(),
          .logit_scale = m.has_logit_scale() ? std::optional(m.logit_scale()) : std::nullopt,
          .logit_bias = m.has_logit_bias() ? std::optional(m.logit_bias()) : std::nullopt};
}

ServerInfo::Memory MemoryOf(const v1::MemoryInfo& m) {
  return {.baseline = m.baseline_bytes(),
          .allocated = m.allocated_bytes(),
          .reserved = m.reserved_bytes(),
          .driver = m.driver_bytes(),
          .peak = m.peak_bytes(),
          .limit = m.limit_bytes(),
          .process_footprint = m.process_footprint_bytes()};
}

}  // namespace

ServerInfo FromProto(const v1::GetServerInfoResponse& r) {
  const auto& l = r.limits();
  const auto& b = r.batching();
  return {.state = v1::GetServerInfoResponse::State_Name(r.state()),
          .model = ModelOf(r.model()),
          .device = r.device(),
          .dtype = r.dtype(),
          .limits = {.max_message_bytes = l.max_message_bytes(),
                     .max_inputs_per_request = l.max_inputs_per_request(),
                     .max_image_bytes = l.max_image_bytes(),
                     .max_pixels = l.max_pixels(),
                     .queue_images = l.queue_images(),
                     .queue_bytes = l.queue_bytes()},
          .accepted_formats = {r.accepted_formats().begin(), r.accepted_formats().end()},
          .batching = {.buckets = {b.buckets().begin(), b.buckets().end()},
                       .cap = b.cap(),
                       .cap_set_by = b.cap_set_by()},
          .memory = MemoryOf(r.memory()),
          .versions = {.server = r.versions().server(),
                       .libtorch = r.versions().libtorch(),
                       .libvips = r.versions().libvips(),
                       .grpc = r.versions().grpc()},
          .uptime = absl::Seconds(r.uptime_seconds())};
}

}  // namespace embedd::client::internal
