// SPDX-License-Identifier: Apache-2.0
//
// embedctl profile: where the time of a call went, as a tree. Requests go out one after the other, so that
// the parts add up to what the caller waited.

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cpp/ctl/commands.h"

namespace embedd::ctl {
namespace {

struct Flags {
  std::vector<std::string> files;
  size_t images = 64;
  int repeat = 3;
};

struct Sums {
  absl::Duration wall, prepare, round_trip, server, decode, queue, execute;
  size_t images = 0, requests = 0, bytes = 0;
  uint32_t largest_batch = 0;
  int retries = 0;
};

void Add(const client::RequestTiming& t, Sums* sums) {
  sums->prepare += t.prepare;
  sums->round_trip += t.round_trip;
  sums->server += t.server_total;
  sums->decode += t.decode;
  sums->queue += t.queue;
  sums->execute += t.execute;
  sums->images += t.inputs;
  sums->bytes += t.request_bytes;
  sums->largest_batch = std::max(sums->largest_batch, t.largest_batch);
  sums->retries += t.attempts - 1;
  ++sums->requests;
}

void Print(const Sums& s) {
  const double n = static_cast<double>(std::max<size_t>(s.requests, 1));
  const auto line = [&](int depth, const char* name, absl::Duration time) {
    const double share = 100 * absl::FDivDuration(time, std::max(s.wall, absl::Nanoseconds(1)));
    absl::PrintF("%*s%-*s %12s %6.1f %%\n", 2 * depth, "", 34 - 2 * depth, name, DurationText(time / n),
                 share);
  };
  const auto rest = [](absl::Duration whole, absl::Duration parts) {
    return std::max(whole - parts, absl::ZeroDuration());
  };
  absl::PrintF("%d images in %d requests, %s sent, %d tried again, largest batch %d\n", s.images, s.requests,
               BytesText(s.bytes), s.retries, s.largest_batch);
  absl::PrintF("mean of a request:\n");
  line(0, "total", s.wall);
  line(1, "client: read files, build request", s.prepare);
  line(1, "network and gRPC, both sides", rest(s.round_trip, s.server));
  line(1, "server", s.server);
  line(2, "decode and resize", s.decode);
  line(2, "queue", s.queue);
  line(2, "execute on the device", s.execute);
  line(2, "reply and the rest", rest(s.server, s.decode + s.queue + s.execute));
  line(1, "client: the rest", rest(s.wall, s.prepare + s.round_trip));
}

int Run(const Common& common, const Flags& flags) {
  auto options = ClientOptions(common);
  if (!options.ok()) return BadArguments(options.status());
  options->max_in_flight = 1;
  options->max_request_images = flags.images;
  const auto client = client::Client::Create(*std::move(options));
  if (!client.ok()) return BadArguments(client.status());
  // Connects, and lets both sides warm up.
  if (const auto first = (*client)->EmbedFiles(std::span(flags.files).first(1)); !first.ok())
    return Fail(first.status());
  Sums sums;
  bool failed = false;
  for (int i = 0; i < flags.repeat; ++i) {
    const absl::Time begin = absl::Now();
    const auto result = (*client)->EmbedFiles(flags.files);
    sums.wall += absl::Now() - begin;
    if (!result.ok()) return Fail(result.status());
    for (const auto& timing : result->requests) Add(timing, &sums);
    for (const auto& error : result->errors) {
      if (i == 0) TellFailed(flags.files[error.index], error);
    }
    failed |= !result->errors.empty();
  }
  Print(sums);
  return failed ? kFailed : kOk;
}

}  // namespace

void AddProfile(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("profile", "Show where the time of a call goes");
  auto flags = std::make_shared<Flags>();
  command->add_option("files", flags->files, "Image files")->required()->type_name("FILE");
  command->add_option("--images", flags->images, "Images per request")
      ->capture_default_str()
      ->check(OneOrMore());
  command->add_option("--repeat", flags->repeat, "How often to send all files")
      ->capture_default_str()
      ->check(OneOrMore());
  command->footer(
      "Stages of several images in one request overlap: then they add up to more than the server's total.\n"
      "Example:\n  embedctl profile --images 1 cat.jpg");
  command->callback([&common, flags, exit_code] { *exit_code = Run(common, *flags); });
}

}  // namespace embedd::ctl
