// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/support/mutex.h"
#include "server/telemetry/per_tower.h"

namespace embedd {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Labels = std::map<std::string, std::string>;
template <typename T>
using Family = prometheus::Family<T>;

constexpr std::array kOutcomes = {Outcome::kOk,      Outcome::kRejected,  Outcome::kRefused,
                                  Outcome::kExpired, Outcome::kCancelled, Outcome::kFailed};
constexpr std::array kStages = {"decode", "queue", "execute", "reply"};  // in the order of enum Stage
constexpr std::array kStates = {ServerState::kLoading, ServerState::kReady, ServerState::kOffloaded,
                                ServerState::kDraining, ServerState::kFailed};
constexpr std::array kOomOutcomes = {"split", "failed"};
constexpr std::array kLanes = {"interactive", "bulk"};
constexpr std::array kMethods = {"EmbedBatch", "EmbedStream", "GetServerInfo"};

// From a tenth of a small batch on a GPU to a call that waited for a full queue.
const Buckets& SecondsBuckets() {
  static const Buckets* const buckets =
      new Buckets{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
  return *buckets;
}

// The ladder of batch sizes.
const Buckets& BatchBuckets() {
  static const Buckets* const buckets = new Buckets{1, 2, 4, 8, 16, 32, 64, 128, 256};
  return *buckets;
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;

  Family<prometheus::Counter>& Counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<prometheus::Gauge>& GaugeFamily(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<prometheus::Histogram>& Histograms(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }

  Family<prometheus::Counter>& images =
      Counters("embedd_images_total", "Inputs of calls that reached the service, by how they ended.");
  Family<prometheus::Counter>& requests =
      Counters("embedd_requests_total", "Calls, by method and gRPC code.");
  Family<prometheus::Histogram>& request_seconds =
      Histograms("embedd_request_seconds", "Time from the arrival of a call to its end.");
  Family<prometheus::Histogram>& stage_seconds =
      Histograms("embedd_stage_seconds",
                 "Time that inputs (decode, queue), batches (execute) and calls (reply) "
                 "spend in a stage.");
  Family<prometheus::Histogram>& batch_size =
      Histograms("embedd_batch_size", "Inputs per device batch, padding not counted.");
  Family<prometheus::Counter>& batch_padding =
      Counters("embedd_batch_padding_total", "Rows computed only to fill a batch up to its bucket.");
  Family<prometheus::Gauge>& batch_cap =
      GaugeFamily("embedd_batch_cap", "Largest batch the scheduler forms now, and what sets it.");
  prometheus::Gauge& queue_images =
      GaugeFamily("embedd_queue_images", "Inputs that hold a place in the queue.").Add({});
  prometheus::Gauge& queue_bytes =
      GaugeFamily("embedd_queue_bytes", "Bytes of the inputs in the queue.").Add({});
  prometheus::Gauge& answer_bytes =
      GaugeFamily("embedd_answer_bytes",
                  "Bytes of --queue-bytes that are held for answers, until the system has taken them.")
          .Add({});
  prometheus::Gauge& stream_waiting_bytes =
      GaugeFamily("embedd_stream_waiting_bytes",
                  "Bytes of messages of streams that are read and wait for a place in the queue.")
          .Add({});
  Family<prometheus::Gauge>& queue_lane_images =
      GaugeFamily("embedd_queue_lane_images", "Inputs that are prepared and wait for a device, by lane.");
  Family<prometheus::Counter>& rejected = Counters(
      "embedd_rejected_total", "Calls and inputs that were refused, by the reason given to the caller.");
  Family<prometheus::Gauge>& device_memory =
      GaugeFamily("embedd_device_memory_bytes",
                  "Memory of the device: baseline (model at rest), allocated (live tensors), reserved (held "
                  "by the allocator), "
                  "driver (what the driver says), peak (highest allocated), limit.");
  prometheus::Counter& released =
      Counters("embedd_batch_released_bytes_total", "Bytes that batches took and gave back.").Add({});
  prometheus::Gauge& unreleased =
      GaugeFamily("embedd_batch_unreleased_bytes", "Bytes that the last batch did not give back. Must be 0.")
          .Add({});
  Family<prometheus::Counter>& oom = Counters(
      "embedd_device_oom_total", "Device batches that ran out of memory: split and tried again, or failed.");
  Family<prometheus::Counter>& device_busy =
      Counters("embedd_device_busy_seconds_total", "Time that a device spent on batches and other work.");
  Family<prometheus::Counter>& spans =
      Counters("embedd_spans_total", "Sampled calls whose spans were sent to the collector, or dropped.");
  Family<prometheus::Gauge>& model_state =
      GaugeFamily("embedd_model_state", "1 for the state the server is in.");
  Family<prometheus::Gauge>& int8_cosine = GaugeFamily(
      "embedd_int8_cosine",
      "Cosine between the int8 and the f32 vectors of drawn pictures, measured at the start: min, mean.");
  prometheus::Gauge& process_footprint =
      GaugeFamily("embedd_process_footprint_bytes", "Memory the system charges to the process.").Add({});
  Family<prometheus::Gauge>& build_info =
      GaugeFamily("embedd_build_info", "Always 1; the labels name the versions in use.");

  std::array<prometheus::Counter*, kOutcomes.size()> images_by_outcome{};
  std::array<prometheus::Histogram*, kStages.size()> seconds_by_stage{};
  std::array<prometheus::Gauge*, kStates.size()> gauge_by_state{};

  // Two locks: the source takes locks of its owner, who may hold them when it calls SetBatchCap.
  Mutex source_mu;
  std::function<ServerFacts()> source ABSL_GUARDED_BY(source_mu);
  Mutex mu;  // the series that come and go
  std::map<std::string, std::unique_ptr<DeviceMetrics>> devices ABSL_GUARDED_BY(mu);
  prometheus::Gauge* build ABSL_GUARDED_BY(mu) = nullptr;

  struct Batches {
    std::once_flag made;
    prometheus::Histogram* size = nullptr;
    prometheus::Counter* padding = nullptr;
  };
  PerTower<Batches> batches;
  const Batches& BatchesOf(Tower tower) {
    Batches& its = batches[tower];
    std::call_once(its.made, [&] {
      const Labels labels = {{"tower", TowerName(tower)}};
      its.size = &batch_size.Add(labels, BatchBuckets());
      its.padding = &batch_padding.Add(labels);
    });
    return its;
  }

  // Every series whose labels are known exists from the start, so that rates and alerts see the first event.
  // Not those of texts: most models have none.
  Impl() {
    BatchesOf(Tower::kImage);
    for (size_t i = 0; i < kOutcomes.size(); ++i) {
      images_by_outcome[i] = &images.Add({{"outcome", std::string(OutcomeName(kOutcomes[i]))}});
    }
    for (size_t i = 0; i < kStages.size(); ++i) {
      seconds_by_stage[i] = &stage_seconds.Add({{"stage", kStages[i]}}, SecondsBuckets());
    }
    for (size_t i = 0; i < kStates.size(); ++i) {
      gauge_by_state[i] = &model_state.Add({{"state", std::string(StateName(kStates[i]))}});
    }
    for (const char* method : kMethods) {
      requests.Add({{"method", method}, {"code", "OK"}});
      request_seconds.Add({{"method", method}}, SecondsBuckets());
    }
    for (const ReasonRow& row : AllReasons()) {
      if (row.rejects) rejected.Add({{"reason", std::string(row.word)}});
    }
    for (const char* outcome : {"sent", "dropped"}) spans.Add({{"outcome", outcome}});
    for (const char* lane : kLanes) queue_lane_images.Add({{"lane", lane}});
    gauge_by_state[0]->Set(1);
  }

  void SetDeviceMemory(const ServerFacts::Device& d) {
    const std::pair<const char*, int64_t> kinds[] = {{"baseline", d.baseline}, {"allocated", d.allocated},
                                                     {"reserved", d.reserved}, {"driver", d.driver},
                                                     {"peak", d.peak},         {"limit", d.limit}};
    for (const auto& [kind, bytes] : kinds)
      device_memory.Add({{"device", d.name}, {"kind", kind}}).Set(static_cast<double>(bytes));
  }
};

struct DeviceMetrics::Impl {
  explicit Impl(Metrics::Impl* all, const std::string& device)
      : all(all), busy(&all->device_busy.Add({{"device", device}})) {
    for (size_t i = 0; i < kOomOutcomes.size(); ++i)
      oom[i] = &all->oom.Add({{"device", device}, {"outcome", kOomOutcomes[i]}});
    all->SetDeviceMemory({.name = device});
  }

  Metrics::Impl* const all;
  prometheus::Counter* const busy;
  std::array<prometheus::Counter*, kOomOutcomes.size()> oom{};
  struct Cap {
    prometheus::Gauge* gauge = nullptr;
    std::string set_by;
  };
  Mutex mu;
  PerTower<Cap> caps ABSL_GUARDED_BY(mu);
  int64_t unreleased ABSL_GUARDED_BY(mu) = 0;
};

DeviceMetrics::DeviceMetrics(std::string device, std::unique_ptr<Impl> impl)
    : device_(std::move(device)), impl_(std::move(impl)) {}
DeviceMetrics::~DeviceMetrics() = default;

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::CountImages(Outcome outcome, int64_t n) {
  impl_->images_by_outcome[static_cast<size_t>(outcome)]->Increment(static_cast<double>(n));
}

void Metrics::CountRequest(std::string_view method, std::string_view code, absl::Duration took) {
  const std::string name(method);
  impl_->requests.Add({{"method", name}, {"code", std::string(code)}}).Increment();
  impl_->request_seconds.Add({{"method", name}}, SecondsBuckets()).Observe(absl::ToDoubleSeconds(took));
}

void Metrics::CountRejected(Reason reason) {
  impl_->rejected.Add({{"reason", std::string(ReasonWord(reason))}}).Increment();
}

void Metrics::CountSpans(std::string_view outcome, int64_t n) {
  impl_->spans.Add({{"outcome", std::string(outcome)}}).Increment(static_cast<double>(n));
}

void Metrics::ObserveStage(Stage stage, absl::Duration took) {
  impl_->seconds_by_stage[static_cast<size_t>(stage)]->Observe(absl::ToDoubleSeconds(took));
}

void Metrics::ObserveBatch(Tower tower, int64_t ok, int64_t padding) {
  const Impl::Batches& batches = impl_->BatchesOf(tower);
  if (ok > 0) batches.size->Observe(static_cast<double>(ok));
  if (padding > 0) batches.padding->Increment(static_cast<double>(padding));
}

DeviceMetrics* Metrics::AddDevice(const std::string& device) {
  MutexLock lock(&impl_->mu);
  std::unique_ptr<DeviceMetrics>& made = impl_->devices[device];
  if (made == nullptr) {
    made.reset(new DeviceMetrics(device, std::make_unique<DeviceMetrics::Impl>(impl_.get(), device)));
  }
  return made.get();
}

void DeviceMetrics::SetBatchCap(Tower tower, int64_t cap, std::string_view set_by) {
  MutexLock lock(&impl_->mu);
  Impl::Cap& now = impl_->caps[tower];
  if (now.gauge == nullptr || now.set_by != set_by) {
    if (now.gauge != nullptr) impl_->all->batch_cap.Remove(now.gauge);
    now.set_by = std::string(set_by);
    now.gauge = &impl_->all->batch_cap.Add(
        {{"device", device_}, {"set_by", now.set_by}, {"tower", TowerName(tower)}});
  }
  now.gauge->Set(static_cast<double>(cap));
}

void DeviceMetrics::CountReleased(int64_t bytes) {
  if (bytes > 0) impl_->all->released.Increment(static_cast<double>(bytes));
}

void DeviceMetrics::SetUnreleased(int64_t bytes) {
  MutexLock lock(&impl_->mu);
  if (bytes == impl_->unreleased) return;
  impl_->all->unreleased.Increment(static_cast<double>(bytes - impl_->unreleased));
  impl_->unreleased = bytes;
}

void DeviceMetrics::CountOom(std::string_view outcome) {
  for (size_t i = 0; i < kOomOutcomes.size(); ++i) {
    if (kOomOutcomes[i] == outcome) impl_->oom[i]->Increment();
  }
}

void DeviceMetrics::AddBusy(absl::Duration took) {
  impl_->busy->Increment(std::max(0.0, absl::ToDoubleSeconds(took)));
}

void Metrics::SetState(ServerState state) {
  for (size_t i = 0; i < kStates.size(); ++i) impl_->gauge_by_state[i]->Set(kStates[i] == state ? 1 : 0);
}

void Metrics::SetInt8Cosine(double least, double mean) {
  impl_->int8_cosine.Add({{"stat", "min"}}).Set(least);
  impl_->int8_cosine.Add({{"stat", "mean"}}).Set(mean);
}

void Metrics::SetFactsSource(std::function<ServerFacts()> source) {
  MutexLock lock(&impl_->source_mu);
  impl_->source = std::move(source);
}

void Metrics::SetBuildInfo(const Versions& versions, std::string_view fingerprint) {
  MutexLock lock(&impl_->mu);
  if (impl_->build != nullptr) impl_->build_info.Remove(impl_->build);
  impl_->build = &impl_->build_info.Add({{"version", versions.server},
                                         {"libtorch", versions.libtorch},
                                         {"libvips", versions.libvips},
                                         {"grpc", versions.grpc},
                                         {"fingerprint", std::string(fingerprint)}});
  impl_->build->Set(1);
}

std::string Metrics::Scrape() {
  // Held to the end: SetFactsSource(nullptr) returns only when the old source is no longer running.
  MutexLock lock(&impl_->source_mu);
  const ServerFacts facts = impl_->source ? impl_->source() : ServerFacts();
  impl_->queue_images.Set(static_cast<double>(facts.queue.images));
  impl_->queue_bytes.Set(static_cast<double>(facts.queue.bytes));
  impl_->answer_bytes.Set(static_cast<double>(facts.queue.answer_bytes));
  impl_->stream_waiting_bytes.Set(static_cast<double>(facts.queue.stream_waiting_bytes));
  impl_->process_footprint.Set(static_cast<double>(facts.process_footprint));
  const int64_t lanes[] = {facts.queue.interactive_images, facts.queue.bulk_images};
  for (size_t i = 0; i < kLanes.size(); ++i)
    impl_->queue_lane_images.Add({{"lane", kLanes[i]}}).Set(static_cast<double>(lanes[i]));
  for (const ServerFacts::Device& device : facts.devices) impl_->SetDeviceMemory(device);
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace embedd
