// SPDX-License-Identifier: Apache-2.0

#include "server/embedd_server.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/config/listen_address.h"
#include "server/device/device_group.h"
#include "server/device/device_lost.h"
#include "server/expected_time.h"
#include "server/facts_reader.h"
#include "server/ops/ops_pages.h"
#include "server/ops/otlp_exporter.h"
#include "server/prepare/prepare_pool.h"
#include "server/prepare/preparer.h"
#include "server/queue/bounded_queue.h"
#include "server/queue/places.h"
#include "server/reply/reply_stage.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/rest_door.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/process.h"
#include "server/support/version.h"
#include "server/telemetry/batch_ledger.h"

namespace embedd {
namespace {

// A connection that does not read its answers holds at most this part of the queue's bytes with them. Who
// reads never comes near: rows are far smaller than the pictures that wait beside them.
constexpr int64_t kShareOfAnswers = 4;

int OrCores(int threads) { return threads > 0 ? threads : UsableCores(); }

// Messages of streams that wait for a place in the queue: half of it, and any single one.
int64_t WaitingBytes(const Config& config) {
  return std::max(config.queue_bytes / 2, config.max_message_bytes);
}

// Bodies on their way in: a quarter of the queue, and any single one with what is read out of it.
int64_t RestBodyBytes(const Config& config) {
  return config.rest == "off"
             ? 0
             : std::max(config.queue_bytes / 4, RestDoor::kCopiesOfBody * config.max_message_bytes);
}

PerTower<std::vector<uint8_t>> BlankInputs(const ModelSpec& spec) {
  PerTower<std::vector<uint8_t>> blank;
  for (const Tower tower : kAllTowers) {
    if (spec.Serves(tower)) blank[tower] = BlankInput(spec, tower);
  }
  return blank;
}

bool AllLocal(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    const absl::StatusOr<ListenAddress> parsed = ParseListenAddress(address);
    if (!parsed.ok() || !parsed->IsLocal()) return false;
  }
  return true;
}

}  // namespace

// Members stand in the order of the road's lives: what stands later uses what stands earlier, and goes first.
struct EmbeddServer::Stages {
  Stages(const Config& config, Parts parts, std::function<void()> on_lost)
      : config(config),
        parts(std::move(parts)),
        on_device_lost(std::move(on_lost)),
        budget({.images = config.queue_images, .bytes = config.queue_bytes}),
        waiting_room({.images = 1 << 30, .bytes = WaitingBytes(config)}),
        answered(clock),
        queue({}, clock),
        reply(clock, &metrics),
        preparer({.clock = clock,
                  .metrics = &metrics,
                  .decoder = this->parts.decoder.get(),
                  .model = &road.model,
                  .encode_text = &encode_text,
                  .queue = &queue,
                  .cost = &prepare_cost}),
        prepare({.threads = OrCores(config.decode_threads)},
                {.clock = clock,
                 .cost = &prepare_cost,
                 .prepare = [this](PrepareItem item) { preparer.Prepare(std::move(item)); },
                 .still_ahead = [this] { return TimeOncePrepared(); }}),
        facts({.versions = {.server = std::string(Version()),
                            .libtorch = this->parts.libtorch_version,
                            .grpc = GrpcVersion()},
               .max_batch = config.max_batch},
              {.clock = clock,
               .state = &state,
               .budget = &budget,
               .waiting_room = &waiting_room,
               .answers = &road.answers,
               .queue = &queue,
               .devices = &made_devices}) {}

  const Config config;
  Parts parts;
  const std::function<void()> on_device_lost;
  Clock* const clock = Clock::Real();

  Metrics metrics;
  StateBoard state;
  BatchLedger ledger;
  std::unique_ptr<TokenCheck> tokens;
  PlaceBudget budget;
  PlaceBudget waiting_room;
  RateMeter answered;
  BoundedQueue queue;
  ModelSpec spec;
  TextEncoder encode_text;
  ReplyStage reply;
  std::unique_ptr<DeviceGroup> devices;
  std::atomic<DeviceGroup*> made_devices{nullptr};  // set once they are there
  std::atomic<bool> served{false};                  // all of them were ready
  Road road;
  PrepareCost prepare_cost;
  const Preparer preparer;
  PreparePool prepare;
  const FactsReader facts;
  std::unique_ptr<OtlpExporter> otlp;  // null: there is no collector
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> http;
  std::string http_address;
  std::unique_ptr<RestDoor> rest;
  std::string rest_address;

  void FillRoad() {
    road.limits = {.max_message_bytes = config.max_message_bytes,
                   .max_inputs = config.max_inputs,
                   .max_image_bytes = config.max_image_bytes,
                   .max_pixels = config.max_pixels,
                   .formats = config.formats};
    road.clock = clock;
    road.metrics = &metrics;
    road.state = &state;
    road.tokens = tokens.get();
    road.budget = &budget;
    road.answers.SetMost(config.queue_bytes / kShareOfAnswers);
    road.waiting_room = &waiting_room;
    road.answered = &answered;
    road.queue = &queue;
    road.prepare = &prepare;
    road.prepare_cost = &prepare_cost;
    road.expected_time = [this](const Work& more) {
      const DeviceGroup* made = made_devices.load();
      return made == nullptr ? absl::ZeroDuration() : ExpectedTime(*made, prepare, more);
    };
    // A scrape has the kernel count the footprint; whoever asks more often hears what it said then.
    metrics.SetFactsSource([this] {
      ProcessFootprintBytes();
      return facts.Read();
    });
    metrics.SetBuildInfo(facts.versions(), "");
    state.Subscribe([this](ServerState now, bool) { metrics.SetState(now); });
  }

  // What an input of each tower needs on the device, at least.
  PerTower<absl::Duration> TimeOncePrepared() const {
    const DeviceGroup* made = made_devices.load();
    return made == nullptr ? PerTower<absl::Duration>() : made->LeastTimes();
  }

  absl::Status StartOtlp() {
    if (config.otlp_endpoint == "off") return absl::OkStatus();
    absl::StatusOr<OtlpEndpoint> endpoint = OtlpEndpoint::Parse(config.otlp_endpoint);
    if (!endpoint.ok()) return endpoint.status();
    otlp = std::make_unique<OtlpExporter>(
        OtlpExporter::Options{.endpoint = *std::move(endpoint), .version = std::string(Version())}, &metrics);
    road.spans = otlp->spans();
    return absl::OkStatus();
  }

  absl::Status StartGrpc() {
    absl::StatusOr<std::unique_ptr<GrpcServer>> started_grpc = GrpcServer::Start(
        {.listen = config.listen,
         .tls_cert = config.tls_cert,
         .tls_key = config.tls_key,
         .tls_client_ca = config.tls_client_ca,
         .reflection = config.reflection.value_or(AllLocal(config.listen)),
         .max_message_bytes = config.max_message_bytes,
         .queue_bytes = config.queue_bytes,
         .waiting_bytes = WaitingBytes(config),
         .rest_bytes = RestBodyBytes(config),
         .max_connection_age = config.max_connection_age},
        &road, [this] { return facts.Read(); },
        [this](bool onto_device, WeightsMoved done) { Move(onto_device, std::move(done)); });
    if (!started_grpc.ok()) return started_grpc.status();
    grpc = *std::move(started_grpc);
    for (const std::string& address : grpc->addresses()) LogInfo(absl::StrCat("listening on ", address));
    return absl::OkStatus();
  }

  // By hand, through the admin call.
  void Move(bool onto_device, WeightsMoved done) {
    DeviceGroup* group = made_devices.load();
    if (group == nullptr)
      return done(absl::UnavailableError("the model is still loading"), Reason::kModelLoading);
    group->Move(onto_device, std::move(done));
  }

  absl::Status StartHttp() {
    if (config.http == "off") return absl::OkStatus();
    HttpRoutes routes = MakeOpsRoutes({.metrics = [this] { return metrics.Scrape(); },
                                       .batches = [this] { return ToJson(ledger.Last()); },
                                       .facts = [this] { return facts.Read(); },
                                       .model = [this] { return road.model.load(); },
                                       .state = &state});
    absl::StatusOr<std::unique_ptr<HttpServer>> started_http =
        HttpServer::Start(ServePages(config.http, std::move(routes)));
    if (!started_http.ok()) return started_http.status();
    http = *std::move(started_http);
    http_address = absl::StrCat(config.http.substr(0, config.http.rfind(':')), ":", http->port());
    LogInfo(absl::StrCat("status page at http://", http_address, "/"));
    return absl::OkStatus();
  }

  absl::Status StartRest() {
    if (config.rest == "off") return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<RestDoor>> started_rest =
        RestDoor::Start({.address = config.rest,
                         .tls_cert = config.tls_cert,
                         .tls_key = config.tls_key,
                         .tls_client_ca = config.tls_client_ca,
                         .body_bytes = RestBodyBytes(config)},
                        &road);
    if (!started_rest.ok()) return started_rest.status();
    rest = *std::move(started_rest);
    rest_address = absl::StrCat(config.rest.substr(0, config.rest.rfind(':')), ":", rest->port());
    LogInfo(absl::StrCat("embeddings at http", config.tls_cert.empty() ? "" : "s", "://", rest_address,
                         "/v1/embeddings"));
    return absl::OkStatus();
  }
};

namespace {
// For the last answers of a drain to leave; calls that end sooner are not waited for.
constexpr absl::Duration kLastWords = absl::Milliseconds(500);
// The server goes on saying why it leaves until nobody calls any more, as callers do once they have heard it.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);
// For the callers of a lost device to hear of it.
constexpr absl::Duration kLastWordsOfLoss = absl::Seconds(2);
// For the batch that runs when a server is destroyed without a drain.
constexpr absl::Duration kEndOfDevice = absl::Seconds(10);
}  // namespace

EmbeddServer::EmbeddServer(std::unique_ptr<Stages> stages) : stages_(std::move(stages)) {}

absl::StatusOr<std::unique_ptr<EmbeddServer>> EmbeddServer::Create(const Config& config, Parts parts,
                                                                   std::function<void()> on_device_lost) {
  auto stages = std::make_unique<Stages>(config, std::move(parts), std::move(on_device_lost));
  absl::StatusOr<std::unique_ptr<TokenCheck>> tokens = TokenCheck::Create(config.token_file, stages->clock);
  if (!tokens.ok()) return tokens.status();
  stages->tokens = *std::move(tokens);
  stages->FillRoad();
  if (absl::Status status = stages->StartOtlp(); !status.ok()) return status;
  if (absl::Status status = stages->StartGrpc(); !status.ok()) return status;
  if (absl::Status status = stages->StartHttp(); !status.ok()) return status;
  if (absl::Status status = stages->StartRest(); !status.ok()) return status;
  return std::unique_ptr<EmbeddServer>(new EmbeddServer(std::move(stages)));
}

absl::Status EmbeddServer::Serve(Model model) {
  Stages& s = *stages_;
  s.spec = std::move(model.spec);
  s.encode_text = std::move(model.encode_text);
  std::vector<DeviceGroup::Device> devices;
  for (OnDevice& on : model.devices) {
    devices.push_back(
        {.options = {.number = static_cast<int>(devices.size()),
                     .name = on.name,
                     .padded = on.padded,
                     .is_processor = on.is_processor,
                     .cap = {.max_batch = s.config.max_batch,
                             .latency_target = s.config.latency_target,
                             .padded = on.padded},
                     .session = {.blank = BlankInputs(s.spec),
                                 .idle_offload = s.config.idle_offload,
                                 // Larger rungs teach little more, and callers wait for the start.
                                 .warm_up_slowest = absl::Milliseconds(60)},
                     .release = {.kind = s.config.release}},
         .executor = std::move(on.executor)});
  }
  s.devices = std::make_unique<DeviceGroup>(
      std::move(devices),
      DeviceGroup::Deps{.queue = &s.queue,
                        .metrics = &s.metrics,
                        .ledger = &s.ledger,
                        .state = &s.state,
                        .reply = [&s](FinishedBatch batch) { s.reply.Send(std::move(batch)); },
                        .on_all_lost =
                            [&s] {
                              s.prepare.FailAll(DeviceLost(), Reason::kDeviceFailed);
                              s.on_device_lost();
                            }});
  // Before READY: whoever sees the state finds the model and the devices.
  s.road.model.store(&s.spec);
  s.made_devices.store(s.devices.get());
  s.metrics.SetBuildInfo(s.facts.versions(), s.spec.fingerprint);
  if (absl::Status status = s.devices->Start(); !status.ok()) return status;
  s.served.store(true);
  std::vector<std::string> caps;
  for (const std::unique_ptr<DeviceThread>& device : s.devices->devices()) {
    if (const std::optional<Int8Accuracy> int8 = device->int8_accuracy())
      s.metrics.SetInt8Cosine(int8->least_cosine, int8->mean_cosine);
    caps.push_back(absl::StrCat(device->name(), "=", device->batching().cap.images));
  }
  LogInfo("ready", {{"model", s.spec.name},
                    {"fingerprint", s.spec.fingerprint},
                    {"dtype", std::string(DtypeWord(s.spec.dtype))},
                    {"batch_cap", absl::StrJoin(caps, ",")}});
  return absl::OkStatus();
}

bool EmbeddServer::Drain() {
  Stages& s = *stages_;
  const absl::Time start = s.clock->TimeNow();
  if (s.config.drain_delay > absl::ZeroDuration()) {  // balancers notice before calls are refused
    s.state.StopAdvertising();
    Mutex mu;
    CondVar never;
    MutexLock lock(&mu);
    while (s.clock->TimeNow() < start + s.config.drain_delay) {
      never.WaitFor(&mu, start + s.config.drain_delay - s.clock->TimeNow());
    }
  }
  const absl::Time draining_since = s.clock->TimeNow();
  s.state.Set(ServerState::kDraining);
  s.grpc->open_streams().Drain();
  // What it takes to tell those who are cut off is part of the time there is.
  s.road.live_calls.WaitUntilNone(
      std::max(s.config.drain_timeout - 2 * kLastWords, s.config.drain_timeout / 2), *s.clock);
  const int64_t cut_off = s.road.live_calls.live();
  // Whoever is cut off hears why, and may try again elsewhere: gRPC's own CANCELLED would look like the
  // caller's doing.
  const absl::Status draining =
      absl::UnavailableError("the server is shutting down; try another one, or again");
  s.prepare.FailAll(draining, Reason::kDraining);
  s.queue.FailAll(draining, Reason::kDraining);
  if (DeviceGroup* devices = s.made_devices.load()) devices->FailInFlight(draining, Reason::kDraining);
  LastWords();
  if (s.otlp != nullptr) s.otlp->Stop();
  // A model that is half loaded cannot be stopped, and nobody waits for it.
  const absl::Duration left = s.config.drain_timeout - (s.clock->TimeNow() - draining_since);
  const bool at_rest = !s.served.load() || s.devices->Stop(std::max(left, kLastWords));
  LogInfo("drained", {{"accepted", absl::StrCat(s.road.live_calls.entered())},
                      {"answered", absl::StrCat(s.road.live_calls.entered() - cut_off)},
                      {"cancelled", absl::StrCat(cut_off)},
                      {"seconds", absl::StrCat(absl::ToDoubleSeconds(s.clock->TimeNow() - start))}});
  if (!at_rest) LogError("a device still works at what was cut off; nobody waits for it");
  return at_rest;
}

void EmbeddServer::LastWords() {
  stages_->road.live_calls.WaitUntilQuiet(kQuiet, kLastWords, *stages_->clock);
  stages_->grpc->RemoveSocketFiles();
}

void EmbeddServer::LeaveAfterDeviceLoss() {
  stages_->road.live_calls.WaitUntilQuiet(kQuiet, kLastWordsOfLoss, *stages_->clock);
  stages_->grpc->RemoveSocketFiles();
}

EmbeddServer::~EmbeddServer() {
  Stages& s = *stages_;
  s.http.reset();
  s.rest.reset();
  const absl::Status stopped = absl::UnavailableError("the server stopped");
  s.queue.FailAll(stopped, Reason::kDraining);
  const bool at_rest = s.devices == nullptr || s.devices->Stop(kEndOfDevice);
  if (s.devices != nullptr) s.devices->FailInFlight(stopped, Reason::kDraining);
  s.grpc->Shutdown(absl::ZeroDuration());
  s.prepare.Stop();
  s.reply.Stop();
  // A thread that hangs goes on using the stages: they stay.
  if (!at_rest) (void)stages_.release();
}

const std::vector<std::string>& EmbeddServer::addresses() const { return stages_->grpc->addresses(); }

const std::string& EmbeddServer::http_address() const { return stages_->http_address; }

const std::string& EmbeddServer::rest_address() const { return stages_->rest_address; }

}  // namespace embedd
