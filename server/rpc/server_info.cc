// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/server_info.h"

namespace embedd {
namespace {

v1::GetServerInfoResponse::State ToWire(ServerState state) {
  switch (state) {
    case ServerState::kLoading:
      return v1::GetServerInfoResponse::LOADING;
    case ServerState::kReady:
      return v1::GetServerInfoResponse::READY;
    case ServerState::kOffloaded:
      return v1::GetServerInfoResponse::OFFLOADED;
    case ServerState::kDraining:
      return v1::GetServerInfoResponse::DRAINING;
    case ServerState::kFailed:
      return v1::GetServerInfoResponse::FAILED;
  }
  return v1::GetServerInfoResponse::STATE_UNSPECIFIED;
}

const char* ResizeModeName(ResizeMode mode) {
  switch (mode) {
    case ResizeMode::kShortest:
      return "shortest";
    case ResizeMode::kLongest:
      return "longest";
    case ResizeMode::kSquash:
      return "squash";
    case ResizeMode::kPatches:
      return "patches";
  }
  return "";
}

void FillModel(const ModelSpec& spec, v1::GetServerInfoResponse* info) {
  v1::ModelInfo* model = info->mutable_model();
  model->set_name(spec.name);
  model->set_architecture(spec.architecture);
  model->set_fingerprint(spec.fingerprint);
  model->set_dimension(static_cast<uint32_t>(spec.dimension));
  model->set_image_height(static_cast<uint32_t>(spec.image.height));
  model->set_image_width(static_cast<uint32_t>(spec.image.width));
  model->set_resize_mode(ResizeModeName(spec.image.resize_mode));
  model->set_interpolation(spec.image.interpolation == Interpolation::kBicubic ? "bicubic" : "bilinear");
  for (const float v : spec.image.mean) model->add_mean(v);
  for (const float v : spec.image.std) model->add_std(v);
  for (const std::string& tower : spec.towers) model->add_towers(tower);
  if (spec.text) {
    model->set_text_context_length(static_cast<uint32_t>(spec.text->context_length));
    model->set_text_lowercases(spec.text->lowercases);
    model->set_text_fingerprint(spec.text->fingerprint);
    if (spec.logit_scale) model->set_logit_scale(*spec.logit_scale);
    if (spec.logit_bias) model->set_logit_bias(*spec.logit_bias);
    model->set_similarity(spec.similarity);
  }
  info->set_device(spec.device);
  info->set_dtype(std::string(DtypeWord(spec.dtype)));
}

void FillDevice(const ServerFacts::Device& facts, int64_t process_footprint, v1::DeviceInfo* info) {
  info->set_device(facts.name);
  info->set_serving(facts.serving);
  v1::BatchingInfo* batching = info->mutable_batching();
  for (const int bucket : facts.buckets) batching->add_buckets(static_cast<uint32_t>(bucket));
  batching->set_cap(static_cast<uint32_t>(facts.cap));
  batching->set_cap_set_by(facts.cap_set_by);
  v1::MemoryInfo* memory = info->mutable_memory();
  memory->set_baseline_bytes(static_cast<uint64_t>(facts.baseline));
  memory->set_allocated_bytes(static_cast<uint64_t>(facts.allocated));
  memory->set_reserved_bytes(static_cast<uint64_t>(facts.reserved));
  memory->set_driver_bytes(static_cast<uint64_t>(facts.driver));
  memory->set_peak_bytes(static_cast<uint64_t>(facts.peak));
  memory->set_limit_bytes(static_cast<uint64_t>(facts.limit));
  memory->set_process_footprint_bytes(static_cast<uint64_t>(process_footprint));
}

}  // namespace

// The singular fields are those of the first device.
void FillServerInfo(const Road& road, const ServerFacts& facts, v1::GetServerInfoResponse* info) {
  if (const ModelSpec* spec = road.model.load()) FillModel(*spec, info);
  info->set_state(ToWire(facts.state));
  info->set_uptime_seconds(facts.uptime_seconds);

  v1::Limits* limits = info->mutable_limits();
  limits->set_max_message_bytes(static_cast<uint64_t>(road.limits.max_message_bytes));
  limits->set_max_inputs_per_request(static_cast<uint32_t>(road.limits.max_inputs));
  limits->set_max_image_bytes(static_cast<uint64_t>(road.limits.max_image_bytes));
  limits->set_max_pixels(static_cast<uint64_t>(road.limits.max_pixels));
  limits->set_queue_images(static_cast<uint32_t>(facts.queue.images_limit));
  limits->set_queue_bytes(static_cast<uint64_t>(facts.queue.bytes_limit));
  for (const std::string& format : road.limits.formats.Words()) info->add_accepted_formats(format);

  info->mutable_memory()->set_process_footprint_bytes(static_cast<uint64_t>(facts.process_footprint));
  for (const ServerFacts::Device& device : facts.devices) {
    v1::DeviceInfo* told = info->add_devices();
    FillDevice(device, facts.process_footprint, told);
    if (info->devices_size() > 1) continue;
    *info->mutable_batching() = told->batching();
    *info->mutable_memory() = told->memory();
  }

  info->mutable_versions()->set_server(facts.versions.server);
  info->mutable_versions()->set_libtorch(facts.versions.libtorch);
  info->mutable_versions()->set_libvips(facts.versions.libvips);
  info->mutable_versions()->set_grpc(facts.versions.grpc);
}

}  // namespace embedd
