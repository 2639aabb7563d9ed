// SPDX-License-Identifier: Apache-2.0

#include "server/embedd_server.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config/listen_address.h"
#include "server/device/batch_scheduler.h"
#include "server/device/device_thread.h"
#include "server/device/watchdog.h"
#include "server/ops/http_server.h"
#include "server/ops/ops_pages.h"
#include "server/prepare/prepare_pool.h"
#include "server/prepare/preparer.h"
#include "server/queue/bounded_queue.h"
#include "server/queue/places.h"
#include "server/release/memory_board.h"
#include "server/release/release_policy.h"
#include "server/reply/reply_stage.h"
#include "server/rpc/grpc_server.h"
#include "server/support/cgroup.h"
#include "server/support/log.h"
#include "server/support/process.h"
#include "server/support/version.h"
#include "server/telemetry/batch_ledger.h"

namespace embedd {
namespace {

int OrCores(int threads) { return threads > 0 ? threads : UsableCores(); }

// Messages of streams that wait for a place in the queue: half of it, and any single one.
int64_t WaitingBytes(const Config& config) {
  return std::max(config.queue_bytes / 2, config.max_message_bytes);
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
        policy({.kind = ReleasePolicy::Parse(config.release).value_or(ReleasePolicy::Kind::kWatermark)}),
        device(clock),
        reply(clock, &metrics),
        preparer({.clock = clock,
                  .metrics = &metrics,
                  .decoder = this->parts.decoder.get(),
                  .model = &road.model,
                  .queue = &queue,
                  .cost = &prepare_cost}),
        prepare({.threads = OrCores(config.decode_threads)},
                {.clock = clock,
                 .cost = &prepare_cost,
                 .prepare = [this](PrepareItem item) { preparer.Prepare(std::move(item)); },
                 .still_ahead = [this] { return TimeOncePrepared(); }}) {}

  const Config config;
  Parts parts;
  const std::function<void()> on_device_lost;
  Clock* const clock = Clock::Real();
  const absl::Time started = clock->TimeNow();
  std::atomic<bool> lost{false};

  Metrics metrics;
  StateBoard state;
  MemoryBoard memory;
  BatchLedger ledger;
  std::unique_ptr<TokenCheck> tokens;
  PlaceBudget budget;
  PlaceBudget waiting_room;
  RateMeter answered;
  BoundedQueue queue;
  const ReleasePolicy policy;
  Model model;
  DeviceThread device;
  ReplyStage reply;
  std::unique_ptr<BucketLadder> ladder;
  std::unique_ptr<DeviceSession> session;
  std::unique_ptr<BatchScheduler> scheduler;
  std::atomic<BatchScheduler*> serving_scheduler{nullptr};  // set once the scheduler is there
  Road road;
  PrepareCost prepare_cost;
  const Preparer preparer;
  PreparePool prepare;
  std::unique_ptr<Watchdog> watchdog;
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> http;
  std::string http_address;

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
    road.waiting_room = &waiting_room;
    road.answered = &answered;
    road.queue = &queue;
    road.prepare = &prepare;
    road.prepare_cost = &prepare_cost;
    road.expected_time = [this](const Work& more) { return ExpectedTime(more); };
    metrics.SetGaugeSource([this] {
      Metrics::Gauges gauges = ReadGauges();
      gauges.process_footprint = ProcessFootprintBytes();
      return gauges;
    });
    metrics.SetBuildInfo(std::string(Version()), parts.libtorch_version, parts.libvips_version,
                         GrpcVersion());
    state.Subscribe([this](ServerState now, bool) { metrics.SetState(now); });
  }

  // Preparing and the device work at the same time: what is longer counts, and its last batch.
  absl::Duration ExpectedTime(const Work& more) const {
    const BatchScheduler* s = serving_scheduler.load();
    if (s == nullptr) return absl::ZeroDuration();
    // The scheduler does not see the images that are still to be prepared, and those are ahead too.
    const LaneSizes undecoded = prepare.sizes();
    const int ahead = undecoded.interactive + (more.lane == Lane::kBulk ? undecoded.bulk : 0);
    const absl::Duration device = s->ExpectedTime(ahead + more.images);
    const absl::Duration preparing = prepare.ExpectedTime(more.lane, more.prepare);
    if (preparing == absl::ZeroDuration()) return device;
    return std::max(device, preparing + std::min(device, s->ExpectedBatchTime()));
  }

  // What an input needs on the device, at least.
  absl::Duration TimeOncePrepared() const {
    const BatchScheduler* s = serving_scheduler.load();
    return s == nullptr ? absl::ZeroDuration() : std::min(s->ExpectedTime(1), s->ExpectedBatchTime());
  }

  Metrics::Gauges ReadGauges() const {
    const PlaceBudget::Usage used = budget.usage();
    const MemoryBoard::View view = memory.view();
    const int64_t answers = road.answer_bytes.load();
    return {.queue_images = used.images,
            .queue_bytes = std::max<int64_t>(0, used.bytes - answers),
            .answer_bytes = answers,
            .stream_waiting_bytes = waiting_room.usage().bytes,
            .baseline = view.baseline,
            .allocated = view.now.allocated,
            .reserved = view.now.reserved,
            .driver = view.now.driver,
            .peak = view.highest_peak,
            .limit = view.now.limit,
            .process_footprint = LastProcessFootprintBytes()};
  }

  ServerFacts ReadFacts() const {
    const Metrics::Gauges g = ReadGauges();
    ServerFacts facts{.baseline = g.baseline,
                      .allocated = g.allocated,
                      .reserved = g.reserved,
                      .driver = g.driver,
                      .peak = g.peak,
                      .limit = g.limit,
                      .process_footprint = g.process_footprint,
                      .version = std::string(Version()),
                      .libtorch = parts.libtorch_version,
                      .libvips = parts.libvips_version,
                      .grpc = GrpcVersion(),
                      .uptime_seconds = absl::ToDoubleSeconds(clock->TimeNow() - started)};
    if (const BatchScheduler* s = serving_scheduler.load()) {
      const BatchScheduler::Batching batching = s->batching();
      facts.buckets = batching.buckets;
      facts.cap = batching.cap.images;
      facts.cap_set_by = batching.cap.set_by;
    }
    return facts;
  }

  OpsInfo ReadOpsInfo() const {
    const ServerFacts f = ReadFacts();
    const PlaceBudget::Usage used = budget.usage();
    OpsInfo info;
    info.state = StateName(state.state());
    info.serving = state.serving();
    info.why = state.why();
    info.version = f.version;
    info.uptime_seconds = f.uptime_seconds;
    if (const ModelSpec* spec = road.model.load()) {
      info.model = spec->name;
      info.architecture = spec->architecture;
      info.fingerprint = spec->fingerprint;
      info.device = spec->device;
      info.dtype = spec->dtype;
      info.dimension = spec->dimension;
      info.image_size = spec->image.height;
    }
    info.batch_cap = f.cap;
    info.max_batch = config.max_batch;
    info.cap_set_by = f.cap_set_by;
    info.queue_images = used.images;
    info.queue_images_limit = config.queue_images;
    info.queue_bytes = used.bytes;
    info.queue_bytes_limit = config.queue_bytes;
    info.baseline = f.baseline;
    info.allocated = f.allocated;
    info.reserved = f.reserved;
    info.driver = f.driver;
    info.peak = f.peak;
    info.limit = f.limit;
    info.process_footprint = f.process_footprint;
    return info;
  }

  OpsHealth ReadOpsHealth() const {
    return {.state = std::string(StateName(state.state())), .serving = state.serving(), .why = state.why()};
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
         .max_connection_age = config.max_connection_age},
        &road, [this] { return ReadFacts(); },
        [this](bool onto_device, MoveDone done) { Move(onto_device, std::move(done)); });
    if (!started_grpc.ok()) return started_grpc.status();
    grpc = *std::move(started_grpc);
    for (const std::string& address : grpc->addresses()) LogInfo(absl::StrCat("listening on ", address));
    return absl::OkStatus();
  }

  // By hand, through the admin call: on the device thread, after the batches that are formed.
  void Move(bool onto_device, MoveDone done) {
    device.Post([this, onto_device, done = std::move(done)] {
      MoveReport report{.allocated_before = memory.view().now.allocated};
      const absl::Time start = clock->TimeNow();
      const absl::Status moved = onto_device ? session->Reload() : session->Offload();
      if (!moved.ok()) return done(moved);
      report.allocated_after = memory.view().now.allocated;
      report.took = clock->TimeNow() - start;
      done(report);
    });
  }

  absl::Status StartHttp() {
    if (config.http == "off") return absl::OkStatus();
    HttpServer::Options options;
    options.address = config.http;
    options.routes = MakeOpsRoutes({.metrics = [this] { return metrics.Scrape(); },
                                    .batches = [this] { return ToJson(ledger.Last()); },
                                    .info = [this] { return ReadOpsInfo(); },
                                    .health = [this] { return ReadOpsHealth(); }});
    absl::StatusOr<std::unique_ptr<HttpServer>> started_http = HttpServer::Start(std::move(options));
    if (!started_http.ok()) return started_http.status();
    http = *std::move(started_http);
    http_address = absl::StrCat(config.http.substr(0, config.http.rfind(':')), ":", http->port());
    LogInfo(absl::StrCat("status page at http://", http_address, "/"));
    return absl::OkStatus();
  }

  // From any thread; the first word counts.
  void LoseDevice(const char* why) {
    if (lost.exchange(true)) return;
    LogError("the device is lost; the process ends with exit code 5 for its supervisor to restart it",
             {{"why", why}});
    state.Set(ServerState::kFailed, why);
    const absl::Status status = absl::UnavailableError("the device was lost; the server restarts");
    prepare.FailAll(status, Reason::kDeviceFailed);
    queue.FailAll(status, Reason::kDeviceFailed);
    on_device_lost();
  }

  // Nobody will answer for the batches on the device.
  void LoseHungDevice() {
    LoseDevice("a batch hangs");
    scheduler->FailInFlight(absl::UnavailableError("the device was lost; the server restarts"),
                            Reason::kDeviceFailed);
  }

  void StartWatchdog() {
    Watchdog::Options options{
        .busy_for = [this] { return device.busy_for(); },
        .allowed = [this] { return Watchdog::AllowedTime(scheduler->ExpectedBatchTime()); }};
    if (model.spec.device == "cpu") options.cpu_time = [this] { return device.cpu_time(); };
    watchdog = std::make_unique<Watchdog>(&state, std::move(options));
    state.Subscribe([this](ServerState, bool) {
      // A thread of its own: a listener must not change the state it listens to.
      if (!state.device_responsive()) std::thread([this] { LoseHungDevice(); }).detach();
    });
  }
};

namespace {
// For the last answers of a drain to leave; calls that end sooner are not waited for.
constexpr absl::Duration kLastWords = absl::Milliseconds(500);
// The server goes on saying why it leaves until nobody calls any more, as callers do once they have heard it.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);
// For the callers of a lost device to hear of it.
constexpr absl::Duration kLastWordsOfLoss = absl::Seconds(2);
}  // namespace

EmbeddServer::EmbeddServer(std::unique_ptr<Stages> stages) : stages_(std::move(stages)) {}

absl::StatusOr<std::unique_ptr<EmbeddServer>> EmbeddServer::Create(const Config& config, Parts parts,
                                                                   std::function<void()> on_device_lost) {
  auto stages = std::make_unique<Stages>(config, std::move(parts), std::move(on_device_lost));
  absl::StatusOr<std::unique_ptr<TokenCheck>> tokens = TokenCheck::Create(config.token_file, stages->clock);
  if (!tokens.ok()) return tokens.status();
  stages->tokens = *std::move(tokens);
  stages->FillRoad();
  if (absl::Status status = stages->StartGrpc(); !status.ok()) return status;
  if (absl::Status status = stages->StartHttp(); !status.ok()) return status;
  return std::unique_ptr<EmbeddServer>(new EmbeddServer(std::move(stages)));
}

absl::Status EmbeddServer::Serve(Model model) {
  Stages& s = *stages_;
  s.model = std::move(model);
  s.ladder = std::make_unique<BucketLadder>(s.config.max_batch);
  const BatchRunner::Deps deps{.executor = s.model.executor.get(),
                               .clock = s.clock,
                               .metrics = &s.metrics,
                               .board = &s.memory,
                               .ledger = &s.ledger,
                               .policy = &s.policy,
                               .ladder = s.ladder.get(),
                               .padded = s.model.padded};
  const ImageSpec& image = s.model.spec.image;
  s.session = std::make_unique<DeviceSession>(
      DeviceSession::Options{.pixel_bytes = image.bytes(),
                             .idle_offload = s.config.idle_offload,
                             // Larger rungs teach little more, and callers wait for the start.
                             .warm_up_slowest = absl::Milliseconds(60)},
      deps, &s.state);
  s.scheduler = std::make_unique<BatchScheduler>(
      CapController::Options{.max_batch = s.config.max_batch,
                             .latency_target = s.config.latency_target,
                             .padded = s.model.padded},
      BatchScheduler::Deps{.queue = &s.queue,
                           .device = &s.device,
                           .session = s.session.get(),
                           .board = &s.memory,
                           .metrics = &s.metrics,
                           .reply = [&s](FinishedBatch batch) { s.reply.Send(std::move(batch)); },
                           .on_device_lost = [&s] { s.LoseDevice("the device failed"); }});
  // Before READY: whoever sees the state finds the model and the scheduler.
  s.road.model.store(&s.model.spec);
  s.serving_scheduler.store(s.scheduler.get());
  if (absl::Status status = s.scheduler->Start(); !status.ok()) return status;
  if (const std::optional<Int8Accuracy> int8 = s.model.executor->int8_accuracy()) {
    s.metrics.SetInt8Cosine(int8->least_cosine, int8->mean_cosine);
  }
  s.StartWatchdog();
  LogInfo("ready", {{"model", s.model.spec.name},
                    {"fingerprint", s.model.spec.fingerprint},
                    {"device", s.model.spec.device},
                    {"dtype", s.model.spec.dtype},
                    {"batch_cap", absl::StrCat(s.scheduler->batching().cap.images)}});
  return absl::OkStatus();
}

void EmbeddServer::Drain() {
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
  s.state.Set(ServerState::kDraining);
  s.grpc->open_streams().Drain();
  s.road.live_calls.WaitUntilNone(s.config.drain_timeout, *s.clock);
  const int64_t cancelled = s.road.live_calls.live();
  // Whoever is cut off hears why, and may try again elsewhere: gRPC's own CANCELLED would look like the
  // caller's doing.
  const absl::Status draining =
      absl::UnavailableError("the server is shutting down; try another one, or again");
  s.prepare.FailAll(draining, Reason::kDraining);
  s.queue.FailAll(draining, Reason::kDraining);
  if (cancelled > 0) {
    if (BatchScheduler* scheduler = s.serving_scheduler.load()) {
      scheduler->FailInFlight(draining, Reason::kDraining);
    }
  }
  LastWords();
  LogInfo("drained", {{"accepted", absl::StrCat(s.road.live_calls.entered())},
                      {"answered", absl::StrCat(s.road.live_calls.entered() - cancelled)},
                      {"cancelled", absl::StrCat(cancelled)},
                      {"seconds", absl::StrCat(absl::ToDoubleSeconds(s.clock->TimeNow() - start))}});
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
  s.watchdog.reset();
  s.http.reset();
  s.grpc->Shutdown(absl::ZeroDuration());
  s.prepare.Stop();
  if (s.scheduler != nullptr) s.scheduler->Stop();
  s.queue.FailAll(absl::UnavailableError("the server stopped"), Reason::kDraining);
  // The device's objects end on its own thread; on MPS nothing else is safe.
  if (s.model.executor != nullptr) s.device.Run([&s] { s.model.executor.reset(); });
  s.device.Stop();
  s.reply.Stop();
}

const std::vector<std::string>& EmbeddServer::addresses() const { return stages_->grpc->addresses(); }

const std::string& EmbeddServer::http_address() const { return stages_->http_address; }

}  // namespace embedd
