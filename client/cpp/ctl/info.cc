// SPDX-License-Identifier: Apache-2.0
//
// embedctl info: what the server says about itself.

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cpp/ctl/commands.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const client::ServerInfo& info) {
  const auto& [state, model, device, dtype, limits, formats, batching, memory, versions, uptime] = info;
  return {{"state", state},
          {"model",
           {{"name", model.name},
            {"architecture", model.architecture},
            {"fingerprint", model.fingerprint},
            {"dimension", model.dimension},
            {"image_height", model.image_height},
            {"image_width", model.image_width},
            {"resize_mode", model.resize_mode},
            {"interpolation", model.interpolation},
            {"mean", model.mean},
            {"std", model.std},
            {"towers", model.towers},
            {"text_context_length", model.text_context_length},
            {"text_fingerprint", model.text_fingerprint},
            {"similarity", model.similarity},
            {"logit_scale", model.logit_scale ? Json(*model.logit_scale) : Json()},
            {"logit_bias", model.logit_bias ? Json(*model.logit_bias) : Json()}}},
          {"device", device},
          {"dtype", dtype},
          {"limits",
           {{"max_message_bytes", limits.max_message_bytes},
            {"max_inputs_per_request", limits.max_inputs_per_request},
            {"max_image_bytes", limits.max_image_bytes},
            {"max_pixels", limits.max_pixels},
            {"queue_images", limits.queue_images},
            {"queue_bytes", limits.queue_bytes}}},
          {"accepted_formats", formats},
          {"batching",
           {{"buckets", batching.buckets}, {"cap", batching.cap}, {"cap_set_by", batching.cap_set_by}}},
          {"memory",
           {{"baseline_bytes", memory.baseline},
            {"allocated_bytes", memory.allocated},
            {"reserved_bytes", memory.reserved},
            {"driver_bytes", memory.driver},
            {"peak_bytes", memory.peak},
            {"limit_bytes", memory.limit},
            {"process_footprint_bytes", memory.process_footprint}}},
          {"versions",
           {{"server", versions.server},
            {"libtorch", versions.libtorch},
            {"libvips", versions.libvips},
            {"grpc", versions.grpc}}},
          {"uptime_seconds", absl::ToDoubleSeconds(uptime)}};
}

void Print(const std::string& target, const client::ServerInfo& info) {
  const auto line = [](const char* name, const std::string& value) {
    absl::PrintF("%-13s %s\n", name, value);
  };
  const auto& m = info.model;
  const auto& l = info.limits;
  const auto& b = info.memory;
  line("server", absl::StrCat(target, ", ", info.state, ", embedd ", info.versions.server, ", up ",
                              absl::FormatDuration(absl::Trunc(info.uptime, absl::Seconds(1)))));
  line("model", absl::StrCat(m.name, " (", m.architecture, ")"));
  line("fingerprint", m.fingerprint);
  line("vectors", absl::StrCat(m.dimension, " numbers, towers: ", absl::StrJoin(m.towers, ", ")));
  if (!m.text_fingerprint.empty()) {
    line("text", absl::StrCat("up to ", m.text_context_length, " tokens, fingerprint ", m.text_fingerprint));
  }
  if (m.logit_scale) {
    line("similarity",
         absl::StrCat(m.similarity, ", scale ", *m.logit_scale, ", bias ", m.logit_bias.value_or(0)));
  }
  line("pixels",
       absl::StrCat(m.image_width, "x", m.image_height, ", resize ", m.resize_mode, " ", m.interpolation));
  line("device", absl::StrCat(info.device, ", ", info.dtype));
  line("formats", absl::StrJoin(info.accepted_formats, ", "));
  line("request",
       absl::StrCat("up to ", l.max_inputs_per_request, " inputs and ", BytesText(l.max_message_bytes)));
  line("image", absl::StrCat("up to ", BytesText(l.max_image_bytes), " and ", l.max_pixels, " pixels"));
  line("queue", absl::StrCat("up to ", l.queue_images, " images and ", BytesText(l.queue_bytes)));
  line("batches", absl::StrCat("up to ", info.batching.cap, " images (set by ", info.batching.cap_set_by,
                               "), sizes ", absl::StrJoin(info.batching.buckets, " ")));
  line("memory",
       absl::StrCat("baseline ", BytesText(b.baseline), ", allocated ", BytesText(b.allocated), ", reserved ",
                    BytesText(b.reserved), ", peak ", BytesText(b.peak), ", limit ", BytesText(b.limit)));
  line("process", BytesText(b.process_footprint));
  // Older servers decoded with it.
  const std::string libvips =
      info.versions.libvips == "none" ? "" : absl::StrCat(", libvips ", info.versions.libvips);
  line("built with",
       absl::StrCat("LibTorch ", info.versions.libtorch, libvips, ", gRPC ", info.versions.grpc));
}

// The first server whose model is another one than that of the first.
const client::TargetInfo* Odd(const std::vector<client::TargetInfo>& servers,
                              const client::TargetInfo** first) {
  for (const auto& server : servers) {
    if (!server.info.ok() || server.info->model.fingerprint.empty()) continue;
    if (*first == nullptr) *first = &server;
    if (server.info->model.fingerprint != (*first)->info->model.fingerprint) return &server;
  }
  return nullptr;
}

Json ErrorJson(const client::TargetInfo& server) {
  const auto& status = server.info.status();
  return {{"target", server.target},
          {"error",
           {{"code", CodeName(status.code())},
            {"reason", client::ErrorReason(status)},
            {"message", std::string(status.message())}}}};
}

int Run(const Common& common, bool json) {
  const auto client = Connect(common);
  if (!client.ok()) return BadArguments(client.status());
  const auto servers = (*client)->GetServerInfos();
  if (servers.size() == 1 && !servers[0].info.ok()) return Fail(servers[0].info.status());
  int exit_code = kOk;
  Json list = Json::array();
  for (const auto& server : servers) {
    if (!server.info.ok()) {
      exit_code = Fail(server.info.status());
      list.push_back(ErrorJson(server));
      continue;
    }
    Json one = {{"target", server.target}};
    one.update(ToJson(*server.info));
    list.push_back(std::move(one));
    if (json) continue;
    if (&server != &servers[0]) absl::PrintF("\n");
    Print(server.target, *server.info);
  }
  // One server: its object, as scripts have read it since the first version.
  if (json) absl::PrintF("%s\n", (servers.size() == 1 ? list[0] : list).dump(2));
  const client::TargetInfo* first = nullptr;
  if (const auto* odd = Odd(servers, &first)) {
    exit_code = Fail(absl::FailedPreconditionError(absl::StrCat(
        first->target, " runs model ", first->info->model.fingerprint, ", ", odd->target, " runs model ",
        odd->info->model.fingerprint, "; their vectors must not be mixed, so one job cannot use both")));
  }
  return exit_code;
}

}  // namespace

void AddInfo(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("info", "Show the model, the limits and the state of each server");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print JSON");
  command->footer(
      "With several servers --json prints a list. Exit code 1 when one does not answer or runs another "
      "model.\n"
      "Examples:\n"
      "  embedctl info --json | jq .model.fingerprint\n"
      "  embedctl --target gpu-1:50051,gpu-2:50051 info");
  command->callback([&common, json, exit_code] { *exit_code = Run(common, *json); });
}

}  // namespace embedd::ctl
