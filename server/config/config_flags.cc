// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_flags.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "server/config/config_values.h"
#include "server/config/device_list.h"
#include "server/config/listen_address.h"
#include "server/config/otlp_endpoint.h"

namespace embedd {
namespace {

using namespace config_values;  // NOLINT(google-build-using-namespace): the readers, used on every line below

constexpr int64_t kKiB = int64_t{1} << 10;
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

Flag ListenFlag(Flag flag) {
  flag.kind = Flag::Kind::kList;
  flag.set = [](absl::string_view text, Config* config) {
    const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
    if (!address.ok()) return address.status();
    config->listen.emplace_back(text);
    return absl::OkStatus();
  };
  flag.show = [](const Config& config) { return absl::StrJoin(config.listen, ","); };
  flag.clear = [](Config* config) { config->listen.clear(); };
  return flag;
}

Flag DeviceFlag(Flag flag) {
  flag = Text(flag, &Config::device);
  flag.set = [](absl::string_view text, Config* config) {
    if (absl::Status status = ParseDeviceList(text).status(); !status.ok()) return status;
    config->device = std::string(text);
    return absl::OkStatus();
  };
  return flag;
}

Flag HttpFlag(Flag flag, std::string Config::*field) {
  flag = Text(flag, field);
  flag.set = [field](absl::string_view text, Config* config) {
    if (text != "off") {
      const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
      if (!address.ok()) return address.status();
      if (!address->unix_path.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", text, "\" is a Unix socket; give HOST:PORT or off"));
      }
    }
    config->*field = std::string(text);
    return absl::OkStatus();
  };
  return flag;
}

Flag OtlpFlag(Flag flag) {
  flag = Text(flag, &Config::otlp_endpoint);
  flag.set = [](absl::string_view text, Config* config) {
    if (text != "off") {
      if (absl::Status status = OtlpEndpoint::Parse(text).status(); !status.ok()) return status;
    }
    config->otlp_endpoint = std::string(text);
    return absl::OkStatus();
  };
  return flag;
}

Flag ReflectionFlag(Flag flag) {
  flag.set = [](absl::string_view text, Config* config) {
    if (text == "auto") {
      config->reflection.reset();
      return absl::OkStatus();
    }
    bool on = false;
    if (!ReadBool(text, &on).ok()) {
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not known; give on, off or auto"));
    }
    config->reflection = on;
    return absl::OkStatus();
  };
  flag.show = [](const Config& config) {
    if (!config.reflection.has_value()) return std::string("auto");
    return std::string(*config.reflection ? "on" : "off");
  };
  return flag;
}

Flag FormatsFlag(Flag flag) {
  flag.set = [](absl::string_view text, Config* config) {
    const absl::StatusOr<FormatSet> formats = FormatSet::Parse(text);
    if (!formats.ok()) return formats.status();
    config->formats = *formats;
    return absl::OkStatus();
  };
  flag.show = [](const Config& config) { return absl::StrJoin(config.formats.Words(), ","); };
  return flag;
}

std::vector<Flag> MakeFlags() {
  std::vector<Flag> flags;
  absl::string_view group = "Model and device";
  const auto row = [&](absl::string_view name, absl::string_view value, absl::string_view help) {
    return Flag{group, name, value, help, Flag::Kind::kValue, nullptr, nullptr, nullptr};
  };
  flags.push_back(
      Text(row("model", "DIR", "Model folder, OpenCLIP or Hugging Face. Required."), &Config::model));
  flags.push_back(DeviceFlag(row("device", "LIST",
                                 "Where the model runs: mps, cuda, cpu, or auto for the first of these that "
                                 "is there. Name one to make a "
                                 "missing device an error (exit code 5). Several share the work, as "
                                 "cuda:0,cuda:1 or cpu,cpu: each holds "
                                 "the weights, and --memory-limit and --threads are for each.")));
  flags.push_back(
      Choice(row("towers", "LIST",
                 "Which towers of the model are served: auto (all that the folder has), image, text, or "
                 "image,text. A tower takes device memory from its first input on; the image tower from the "
                 "start, unless only text is served."),
             &Config::towers, {"auto", "image", "text", "image,text"}));
  flags.push_back(Choice(row("dtype", "TYPE",
                             "Number format of weights and activations: f32, f16, bf16, int8 (cpu with VNNI "
                             "or AMX), or auto (f16 on mps and cuda; f32 on cpu, bf16 with AMX if twice as "
                             "fast). Vectors of different types have different fingerprints: set it when "
                             "several servers fill one collection."),
                         &Config::dtype, kDtypes));
  flags.push_back(Number(
      row("int8-min-cosine", "X",
          "With --dtype int8: the least cosine to the vectors of f32, measured at the start over drawn "
          "pictures, with which the server serves."),
      &Config::int8_min_cosine, 0, 1));
  flags.push_back(Integer(
      row("threads", "N", "Threads of one operation on the cpu device. Lower it when the machine is shared."),
      &Config::threads, 1, 1024, "cores"));
  flags.push_back(Choice(
      row("cuda-pipeline", "HOW",
          "On cuda: off; copies: large batches go in parts, the next one copied while one is computed; "
          "graphs: also, small batches of images are launched as one recorded graph, which takes memory "
          "that stays. Other than off is new and has not served on a card yet."),
      &Config::cuda_pipeline, kCudaPipelines));

  flags.push_back(Choice(row("decode", "HOW",
                             "exact: the pixels that Pillow and open_clip make. fast: large JPEG files are "
                             "shrunk while they are "
                             "decoded, to no less than twice what the model takes. Vectors then differ a "
                             "little, and so does the "
                             "fingerprint."),
                         &Config::decode, {"exact", "fast"}));

  group = "Listening";
  flags.push_back(ListenFlag(
      row("listen", "ADDR",
          "Address for gRPC: HOST:PORT, [IPV6]:PORT or unix:PATH; repeatable; port 0 takes a free one. "
          "Other than loopback needs TLS, a token or --allow-insecure.")));
  flags.push_back(HttpFlag(
      row("http", "HOST:PORT",
          "Address for /metrics, /healthz, /batches and the status page, or off. Plain HTTP, open to "
          "everybody who reaches it; it shows sizes and times, never images or vectors."),
      &Config::http));
  flags.push_back(HttpFlag(
      row("rest", "HOST:PORT",
          "Address for POST /v1/embeddings and GET /v1/models as OpenAI's clients send them, or off. TLS, "
          "token and --allow-insecure as for --listen."),
      &Config::rest));
  flags.push_back(
      Text(row("tls-cert", "FILE", "Certificate chain (PEM) for TLS. Needs --tls-key."), &Config::tls_cert));
  flags.push_back(Text(row("tls-key", "FILE", "Private key (PEM) of --tls-cert."), &Config::tls_key));
  flags.push_back(
      Text(row("tls-client-ca", "FILE",
               "Accept only clients with a certificate signed by one of these (PEM). Needs --tls-cert."),
           &Config::tls_client_ca));
  flags.push_back(Text(
      row("token-file", "FILE",
          "Accept only calls with `authorization: Bearer TOKEN`, the token being the content of this file. "
          "Health stays open."),
      &Config::token_file));
  flags.push_back(
      Switch(row("allow-insecure", "",
                 "Allow addresses other than loopback without TLS and without token. For networks that are "
                 "trusted as a whole, such as inside a container."),
             &Config::allow_insecure));
  flags.push_back(ReflectionFlag(
      row("reflection", "on|off|auto",
          "gRPC reflection, which grpcurl uses. auto: on where every address is loopback or a Unix "
          "socket.")));

  group = "Limits of a request";
  flags.push_back(Bytes(row("max-message-bytes", "SIZE",
                            "Largest gRPC message. Raise it for larger calls; clients need the "
                            "same limit."),
                        &Config::max_message_bytes, 64 * kKiB, 2 * kGiB - 1));
  flags.push_back(
      Integer(row("max-inputs", "N", "Most inputs in one call. Clients split by it on their own."),
              &Config::max_inputs, 1, 65536));
  flags.push_back(Bytes(row("max-image-bytes", "SIZE",
                            "Largest encoded image. A larger one fails alone, before it is "
                            "decoded."),
                        &Config::max_image_bytes, kKiB, 2 * kGiB - 1));
  flags.push_back(Pixels(
      row("max-pixels", "PIXELS",
          "Largest image, width times height. Bounds the memory of one decoder: about 4 bytes per pixel "
          "and decode thread."),
      &Config::max_pixels, 1, 1'000'000'000));
  flags.push_back(FormatsFlag(row(
      "formats", "LIST",
      "Picture formats that are read: jpeg,png for these only, or +heic and -tiff for the usual ones with a "
      "change. Known: jpeg, png, webp, gif, bmp, tiff, avif, and heic, which is off by default.")));

  group = "Decoding, queue and batches";
  flags.push_back(Integer(
      row("decode-threads", "N", "Threads that decode and resize. Lower it when memory or cores are short."),
      &Config::decode_threads, 1, 1024, "cores"));
  flags.push_back(Integer(
      row("queue-images", "N",
          "Places for inputs that wait or run. A call that finds too few is refused with "
          "RESOURCE_EXHAUSTED and told when to retry. Raise it for bursts, lower it for shorter waits."),
      &Config::queue_images, 1, 1'000'000));
  flags.push_back(
      Bytes(row("queue-bytes", "SIZE", "Bytes of the inputs that hold those places, as for --queue-images."),
            &Config::queue_bytes, kMiB, 1024 * kGiB));
  flags.push_back(Integer(
      row("max-batch", "N",
          "Upper bound of a device batch. The live cap adapts below it to memory and --latency-target; "
          "raise it only when /batches shows that batches are full and the device has memory left."),
      &Config::max_batch, 1, 1024));
  flags.push_back(Time(
      row("latency-target", "TIME",
          "While requests wait, a device batch is kept shorter than this. Larger means more throughput and "
          "longer waits; 0 or off: throughput only."),
      &Config::latency_target, absl::Milliseconds(1), absl::Minutes(10)));

  group = "Memory of the device";
  flags.push_back(Bytes(
      row("memory-limit", "SIZE",
          "Most device memory the server may hold, or auto for the maximum the device recommends. Set it "
          "when other programs share the device."),
      &Config::memory_limit, kMiB, 16 * 1024 * kGiB, "auto"));
  flags.push_back(Choice(
      row("release", "POLICY",
          "When cached device memory goes back to the system: never, watermark (when it nears the limit), "
          "idle, or always (after every batch; slower). The tensors of a batch are dropped at its end in "
          "every case."),
      &Config::release, kReleaseKinds));
  flags.push_back(
      Time(row("idle-offload", "TIME",
               "After this long without work the weights leave the device; the next request brings them back "
               "and waits for it. Set it on machines that do other work too."),
           &Config::idle_offload, absl::Seconds(1), absl::Hours(24 * 365)));

  group = "Stopping and logs";
  flags.push_back(Time(row("drain-timeout", "TIME",
                           "After SIGTERM, calls in flight get this long to end. Keep it below the "
                           "kill timeout of the supervisor."),
                       &Config::drain_timeout, absl::Milliseconds(1), absl::Hours(24)));
  flags.push_back(Time(
      row("drain-delay", "TIME",
          "After SIGTERM, health says NOT_SERVING for this long before new calls are refused. Set it behind "
          "a load balancer that polls health."),
      &Config::drain_delay, absl::Milliseconds(1), absl::Hours(1)));
  flags.push_back(Time(
      row("max-connection-age", "TIME",
          "Callers are asked to open a new connection after this long; what runs on the old one ends there. "
          "Set it behind DNS: callers look the name up again and find new replicas."),
      &Config::max_connection_age, absl::Seconds(1), absl::Hours(24 * 365)));
  flags.push_back(OtlpFlag(
      row("otlp-endpoint", "URL",
          "Collector (OpenTelemetry, OTLP over HTTP) that gets the spans of calls whose caller traces and "
          "samples "
          "them: http://127.0.0.1:4318, or off. What it does not take in time is dropped and counted.")));
  flags.push_back(
      Choice(row("log-level", "LEVEL", "debug (a line for each batch and each call), info, warn or error."),
             &Config::log_level, {"debug", "info", "warn", "error"}));
  flags.push_back(Choice(row("log-format", "FORMAT",
                             "text, json (one object per line), or auto: text on a terminal, json "
                             "otherwise."),
                         &Config::log_format, {"auto", "text", "json"}));
  return flags;
}

}  // namespace

const std::vector<Flag>& Flags() {
  static const std::vector<Flag>* const flags = new std::vector<Flag>(MakeFlags());
  return *flags;
}

std::string EnvironmentName(absl::string_view flag) {
  return absl::StrCat("EMBEDD_", absl::StrReplaceAll(absl::AsciiStrToUpper(flag), {{"-", "_"}}));
}

}  // namespace embedd
