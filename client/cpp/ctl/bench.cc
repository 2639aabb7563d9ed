// SPDX-License-Identifier: Apache-2.0
//
// embedctl bench: how many images a second, how long a call takes, and what fails, under a load of one's
// choice.

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/ctl/bench_input.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/ctl/load.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

struct Flags {
  LoadOptions load;
  BenchInput input;
  int channels = 0;
  bool json = false;
};

// The parts that both reports show.
struct Report {
  double images_per_second, calls_per_second, p50, p90, p99, max;
};

Report Summarise(const Flags& flags, const LoadResult& r) {
  const double seconds = absl::ToDoubleSeconds(flags.load.duration);
  const auto& l = r.latencies_ms;
  return {.images_per_second = static_cast<double>(r.images_in_time) / seconds,
          .calls_per_second = static_cast<double>(l.size()) / seconds,
          .p50 = Percentile(l, 0.50),
          .p90 = Percentile(l, 0.90),
          .p99 = Percentile(l, 0.99),
          .max = l.empty() ? 0 : l.back()};
}

void PrintJson(const Flags& flags, const LoadResult& r, const client::ServerInfo& info) {
  const Report s = Summarise(flags, r);
  const nlohmann::ordered_json json = {
      {"model", info.model.name},
      {"device", info.device},
      {"dtype", info.dtype},
      {"loop", flags.load.rate > 0 ? "open" : "closed"},
      {"callers", flags.load.callers},
      {"rate", flags.load.rate},
      {"images_per_call", flags.input.images},
      {"input", Describe(flags.input)},
      {"seconds", absl::ToDoubleSeconds(flags.load.duration)},
      {"images_per_second", s.images_per_second},
      {"calls_per_second", s.calls_per_second},
      {"calls", r.calls},
      {"ok", r.latencies_ms.size()},
      {"latency_ms", {{"p50", s.p50}, {"p90", s.p90}, {"p99", s.p99}, {"max", s.max}}},
      {"server_mean_ms", {{"decode", r.decode_ms}, {"queue", r.queue_ms}, {"execute", r.execute_ms}}},
      {"largest_batch", r.largest_batch},
      {"failed_inputs", r.failed_inputs},
      {"not_sent", r.not_sent},
      {"refused_without_pushback", r.refused_without_pushback},
      {"errors", r.errors}};
  absl::PrintF("%s\n", json.dump(2));
}

void PrintText(const Flags& flags, const LoadResult& r, const client::ServerInfo& info) {
  const Report s = Summarise(flags, r);
  const auto& load = flags.load;
  absl::PrintF("model     %s on %s, %s\n", info.model.name, info.device, info.dtype);
  absl::PrintF("load      %s, %d images a call, %s, %s after %s of warm-up\n",
               load.rate > 0 ? absl::StrFormat("%g calls a second", load.rate)
                             : absl::StrFormat("%d callers, one call after the other", load.callers),
               flags.input.images, Describe(flags.input), absl::FormatDuration(load.duration),
               absl::FormatDuration(load.warmup));
  absl::PrintF("images/s  %.1f   (%.1f calls/s, largest batch %d)\n", s.images_per_second, s.calls_per_second,
               r.largest_batch);
  absl::PrintF("latency   p50 %.1f ms   p90 %.1f ms   p99 %.1f ms   max %.1f ms\n", s.p50, s.p90, s.p99,
               s.max);
  absl::PrintF("server    decode %.1f ms   queue %.1f ms   execute %.1f ms   (mean of a call)\n", r.decode_ms,
               r.queue_ms, r.execute_ms);
  absl::PrintF("calls     %d ok of %d", r.latencies_ms.size(), r.calls);
  for (const auto& [code, count] : r.errors) absl::PrintF(", %d %s", count, code);
  if (r.failed_inputs > 0) absl::PrintF(", %d failed inputs", r.failed_inputs);
  if (r.not_sent > 0) absl::PrintF(", %d not sent (too many outstanding)", r.not_sent);
  absl::PrintF("\n");
}

int Run(const Common& common, Flags flags) {
  const auto options = ClientOptions(common);
  if (!options.ok()) return BadArguments(options.status());
  const auto client = client::Client::Create(*options);
  if (!client.ok()) return BadArguments(client.status());
  const auto info = (*client)->GetServerInfo();
  if (!info.ok()) return Fail(info.status());
  const auto requests = MakeRequests(flags.input, *info);
  if (!requests.ok()) return Fail(requests.status());

  // To each server as many; calls take them in turn.
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  const int count = flags.channels > 0 ? flags.channels : std::min(flags.load.callers, 8);
  for (int i = 0; i < count; ++i) {
    auto places = Places(*options, /*own_connections=*/true);
    if (!places.ok()) return Fail(places.status());
    for (auto& place : *places) channels.push_back(std::move(place.channel));
  }
  flags.load.timeout = common.timeout;
  flags.load.token = options->token;
  const auto result = PutLoad(flags.load, *requests, channels);
  flags.json ? PrintJson(flags, result, *info) : PrintText(flags, result, *info);
  return result.errors.empty() && result.failed_inputs == 0 && result.not_sent == 0 ? kOk : kFailed;
}

void AddFlags(CLI::App& command, Flags* flags) {
  command.add_option("files", flags->input.files, "Image files to send instead of drawn pictures")
      ->type_name("FILE");
  command.add_option("--callers", flags->load.callers, "Closed loop: calls in flight at all times")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  command
      .add_option("--rate", flags->load.rate,
                  "Open loop: calls a second, at random times, whatever the server does")
      ->check(CLI::Range(0.0, 1e6));
  command.add_option("--images", flags->input.images, "Images per call")
      ->capture_default_str()
      ->check(OneOrMore());
  command.add_option("--input", flags->input.kind, "Drawn pictures as raw pixels or as JPEG")
      ->capture_default_str()
      ->check(CLI::IsMember({"raw", "jpeg"}));
  command.add_option("--width", flags->input.width, "Width of drawn pictures")
      ->capture_default_str()
      ->check(CLI::Range(1, 16384));
  command.add_option("--height", flags->input.height, "Height of drawn pictures")
      ->capture_default_str()
      ->check(CLI::Range(1, 16384));
  command
      .add_option("--channels", flags->channels,
                  "Connections to each server; default: one per caller, up to 8")
      ->check(CLI::Range(1, 256));
  AddDuration(command, "--warmup", &flags->load.warmup, "Not counted, at the start");
  AddDuration(command, "--duration", &flags->load.duration, "Counted, after the warm-up");
  command.add_flag("--fp16", flags->input.fp16, "Have vectors sent as half floats");
  command.add_flag("--bulk", flags->input.bulk, "Wait behind interactive callers");
  command.add_flag("--json", flags->json, "Print JSON");
}

}  // namespace

void AddBench(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("bench", "Measure throughput and latency under load");
  auto flags = std::make_shared<Flags>();
  AddFlags(*command, flags.get());
  command->footer(
      "A refused call is counted and not tried again; in a closed loop its caller waits as long as the "
      "server "
      "asked.\n"
      "--timeout is the deadline of each call. Exit code 1 when a call or an input failed. In an open loop, "
      "latency\n"
      "counts from the time a call was due.\n"
      "Examples:\n"
      "  embedctl bench --callers 16 --images 16             throughput, raw pixels of the model's size\n"
      "  embedctl bench --rate 50 --input jpeg --width 640 --height 480\n"
      "  embedctl bench --callers 1 --images 1 cat.jpg       latency of one caller");
  command->callback([&common, flags, exit_code] {
    if (flags->load.duration <= absl::ZeroDuration())
      throw CLI::ValidationError("--duration", "must be above zero");
    *exit_code = Run(common, *flags);
  });
}

}  // namespace embedd::ctl
