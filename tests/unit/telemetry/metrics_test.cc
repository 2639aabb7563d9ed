// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/metrics.h"

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

struct Scraped {
  std::map<std::string, std::string> types;  // name to type
  std::map<std::string, double> series;      // name and labels to value
};

Scraped Parse(const std::string& text) {
  Scraped scraped;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (line.rfind("# TYPE ", 0) == 0) {
      std::string hash, type_word, name, type;
      words >> hash >> type_word >> name >> type;
      scraped.types[name] = type;
    } else if (!line.empty() && line[0] != '#') {
      const size_t space = line.rfind(' ');
      REQUIRE(space != std::string::npos);
      const bool fresh =
          scraped.series.emplace(line.substr(0, space), std::stod(line.substr(space + 1))).second;
      INFO(line);
      REQUIRE(fresh);
    }
  }
  return scraped;
}

TEST_CASE("The metrics are those of the contract, with their types, and no others") {
  Metrics metrics;
  metrics.AddDevice("cpu")->SetBatchCap(Tower::kImage, 64, "max_batch");
  metrics.SetBuildInfo({.server = "0.1.0", .libtorch = "2.13.0", .grpc = "1.51.1"}, "f00d");
  const std::map<std::string, std::string> contract = {{"embedd_images_total", "counter"},
                                                       {"embedd_requests_total", "counter"},
                                                       {"embedd_request_seconds", "histogram"},
                                                       {"embedd_stage_seconds", "histogram"},
                                                       {"embedd_batch_size", "histogram"},
                                                       {"embedd_batch_padding_total", "counter"},
                                                       {"embedd_batch_cap", "gauge"},
                                                       {"embedd_queue_images", "gauge"},
                                                       {"embedd_queue_bytes", "gauge"},
                                                       {"embedd_queue_lane_images", "gauge"},
                                                       {"embedd_answer_bytes", "gauge"},
                                                       {"embedd_stream_waiting_bytes", "gauge"},
                                                       {"embedd_rejected_total", "counter"},
                                                       {"embedd_device_memory_bytes", "gauge"},
                                                       {"embedd_batch_released_bytes_total", "counter"},
                                                       {"embedd_batch_unreleased_bytes", "gauge"},
                                                       {"embedd_device_oom_total", "counter"},
                                                       {"embedd_device_busy_seconds_total", "counter"},
                                                       {"embedd_model_state", "gauge"},
                                                       {"embedd_process_footprint_bytes", "gauge"},
                                                       {"embedd_spans_total", "counter"},
                                                       {"embedd_build_info", "gauge"}};
  CHECK(Parse(metrics.Scrape()).types == contract);
}

TEST_CASE("Every series with a fixed label exists at 0 before anything happened") {
  Metrics metrics;
  metrics.AddDevice("cpu");
  const std::map<std::string, double> series = Parse(metrics.Scrape()).series;
  std::vector<std::string> expected = {"embedd_batch_size_count{tower=\"image\"}",
                                       "embedd_batch_padding_total{tower=\"image\"}",
                                       "embedd_queue_images",
                                       "embedd_queue_bytes",
                                       "embedd_batch_released_bytes_total",
                                       "embedd_batch_unreleased_bytes",
                                       "embedd_device_oom_total{device=\"cpu\",outcome=\"split\"}",
                                       "embedd_device_oom_total{device=\"cpu\",outcome=\"failed\"}",
                                       "embedd_device_busy_seconds_total{device=\"cpu\"}",
                                       "embedd_queue_lane_images{lane=\"interactive\"}",
                                       "embedd_queue_lane_images{lane=\"bulk\"}",
                                       "embedd_rejected_total{reason=\"QUEUE_FULL\"}",
                                       "embedd_requests_total{code=\"OK\",method=\"EmbedBatch\"}"};
  for (const char* outcome : {"ok", "rejected", "refused", "expired", "cancelled", "failed"}) {
    expected.push_back(std::string("embedd_images_total{outcome=\"") + outcome + "\"}");
  }
  for (const char* stage : {"decode", "queue", "execute", "reply"}) {
    expected.push_back(std::string("embedd_stage_seconds_count{stage=\"") + stage + "\"}");
  }
  for (const char* kind : {"baseline", "allocated", "reserved", "driver", "peak", "limit"}) {
    expected.push_back(std::string("embedd_device_memory_bytes{device=\"cpu\",kind=\"") + kind + "\"}");
  }
  for (const std::string& name : expected) {
    INFO(name);
    REQUIRE(series.count(name) == 1);
    CHECK(series.at(name) == 0);
  }
}

TEST_CASE("The accuracy of int8 is there once it is known") {
  Metrics metrics;
  CHECK(Parse(metrics.Scrape()).types.count("embedd_int8_cosine") == 0);
  metrics.SetInt8Cosine(0.9975, 0.9995);
  auto series = Parse(metrics.Scrape()).series;
  CHECK(series["embedd_int8_cosine{stat=\"min\"}"] == Approx(0.9975));
  CHECK(series["embedd_int8_cosine{stat=\"mean\"}"] == Approx(0.9995));
}

TEST_CASE("Each event moves its own series") {
  Metrics metrics;
  metrics.CountImages(Outcome::kOk, 5);
  metrics.CountImages(Outcome::kFailed);
  metrics.CountRequest("EmbedBatch", "OK", absl::Milliseconds(30));
  metrics.CountRequest("EmbedBatch", "RESOURCE_EXHAUSTED", absl::Milliseconds(10));
  metrics.CountRejected(Reason::kQueueFull);
  metrics.ObserveStage(Stage::kDecode, absl::Milliseconds(1));
  metrics.ObserveStage(Stage::kQueue, absl::Milliseconds(2));
  metrics.ObserveStage(Stage::kExecute, absl::Milliseconds(3));
  metrics.ObserveStage(Stage::kReply, absl::Milliseconds(4));
  metrics.ObserveBatch(Tower::kImage, 5, 3);
  CHECK(Parse(metrics.Scrape()).series.count("embedd_batch_size_sum{tower=\"text\"}") == 0);
  metrics.ObserveBatch(Tower::kText, 7, 1);
  metrics.AddDevice("cpu:0")->CountReleased(4096);
  metrics.AddDevice("cpu:0")->SetUnreleased(7);
  metrics.AddDevice("cpu:1")->SetUnreleased(2);
  metrics.AddDevice("cpu:1")->CountOom("split");
  metrics.AddDevice("cpu:1")->AddBusy(absl::Milliseconds(250));
  metrics.SetBuildInfo({.server = "0.1.0", .libtorch = "2.13.0", .grpc = "1.51.1"}, "f00d");
  std::map<std::string, double> series = Parse(metrics.Scrape()).series;
  CHECK(series["embedd_images_total{outcome=\"ok\"}"] == 5);
  CHECK(series["embedd_images_total{outcome=\"failed\"}"] == 1);
  CHECK(series["embedd_requests_total{code=\"OK\",method=\"EmbedBatch\"}"] == 1);
  CHECK(series["embedd_requests_total{code=\"RESOURCE_EXHAUSTED\",method=\"EmbedBatch\"}"] == 1);
  CHECK(series["embedd_request_seconds_count{method=\"EmbedBatch\"}"] == 2);
  CHECK(series["embedd_request_seconds_sum{method=\"EmbedBatch\"}"] == Approx(0.04));
  CHECK(series["embedd_rejected_total{reason=\"QUEUE_FULL\"}"] == 1);
  CHECK(series["embedd_stage_seconds_sum{stage=\"decode\"}"] == Approx(0.001));
  CHECK(series["embedd_stage_seconds_sum{stage=\"queue\"}"] == Approx(0.002));
  CHECK(series["embedd_stage_seconds_sum{stage=\"execute\"}"] == Approx(0.003));
  CHECK(series["embedd_stage_seconds_sum{stage=\"reply\"}"] == Approx(0.004));
  CHECK(series["embedd_batch_size_sum{tower=\"image\"}"] == 5);
  CHECK(series["embedd_batch_size_count{tower=\"image\"}"] == 1);
  CHECK(series["embedd_batch_padding_total{tower=\"image\"}"] == 3);
  CHECK(series["embedd_batch_size_sum{tower=\"text\"}"] == 7);
  CHECK(series["embedd_batch_padding_total{tower=\"text\"}"] == 1);
  CHECK(series["embedd_batch_released_bytes_total"] == 4096);
  CHECK(series["embedd_batch_unreleased_bytes"] == 9);
  CHECK(series["embedd_device_oom_total{device=\"cpu:0\",outcome=\"split\"}"] == 0);
  CHECK(series["embedd_device_oom_total{device=\"cpu:1\",outcome=\"split\"}"] == 1);
  CHECK(series["embedd_device_busy_seconds_total{device=\"cpu:1\"}"] == Approx(0.25));
  CHECK(series["embedd_build_info{fingerprint=\"f00d\",grpc=\"1.51.1\",libtorch=\"2.13.0\",libvips=\"none\","
               "version=\"0.1.0\"}"] == 1);
}

TEST_CASE("The batch cap of a tower has one series, that of what sets it now") {
  Metrics metrics;
  DeviceMetrics* device = metrics.AddDevice("cpu");
  device->SetBatchCap(Tower::kImage, 64, "max_batch");
  device->SetBatchCap(Tower::kImage, 32, "oom");
  device->SetBatchCap(Tower::kImage, 16, "oom");
  device->SetBatchCap(Tower::kText, 16, "max_batch");
  std::set<std::string> caps;
  for (const auto& [name, value] : Parse(metrics.Scrape()).series) {
    if (name.rfind("embedd_batch_cap", 0) != 0) continue;
    caps.insert(name);
    CHECK(value == 16);
  }
  CHECK(caps ==
        std::set<std::string>{"embedd_batch_cap{device=\"cpu\",set_by=\"oom\",tower=\"image\"}",
                              "embedd_batch_cap{device=\"cpu\",set_by=\"max_batch\",tower=\"text\"}"});
}

TEST_CASE("The state is 1 in one series") {
  Metrics metrics;
  metrics.SetState(ServerState::kReady);
  double sum = 0;
  const Scraped scraped = Parse(metrics.Scrape());
  for (const auto& [name, value] : scraped.series) {
    if (name.rfind("embedd_model_state", 0) == 0) sum += value;
  }
  CHECK(sum == 1);
  CHECK(scraped.series.at("embedd_model_state{state=\"READY\"}") == 1);
}

TEST_CASE("Gauges are read from the source at each scrape, and exact to the byte") {
  Metrics metrics;
  int64_t peak = (int64_t{1} << 40) + 1;
  metrics.SetFactsSource([&] {
    return ServerFacts{.process_footprint = 99,
                       .queue = {.images = 3, .bytes = 450, .bulk_images = 2},
                       .devices = {{.name = "cpu:0", .peak = ++peak}, {.name = "cpu:1", .peak = 5}}};
  });
  std::map<std::string, double> series = Parse(metrics.Scrape()).series;
  CHECK(series["embedd_queue_images"] == 3);
  CHECK(series["embedd_queue_bytes"] == 450);
  CHECK(series["embedd_queue_lane_images{lane=\"bulk\"}"] == 2);
  CHECK(series["embedd_process_footprint_bytes"] == 99);
  CHECK(series["embedd_device_memory_bytes{device=\"cpu:1\",kind=\"peak\"}"] == 5);
  CHECK(series["embedd_device_memory_bytes{device=\"cpu:0\",kind=\"peak\"}"] == static_cast<double>(peak));
  series = Parse(metrics.Scrape()).series;
  CHECK(series["embedd_device_memory_bytes{device=\"cpu:0\",kind=\"peak\"}"] ==
        static_cast<double>((int64_t{1} << 40) + 3));
}

TEST_CASE("Counting and scraping from several threads loses nothing") {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics, t] {
      for (int i = 0; i < 250; ++i) {
        metrics.CountImages(Outcome::kOk);
        metrics.ObserveBatch(Tower::kImage, 2, 0);
        metrics.CountRequest("EmbedBatch", i % 2 == 0 ? "OK" : "CANCELLED", absl::Milliseconds(1));
        metrics.AddDevice("cpu")->SetBatchCap(Tower::kImage, i + 1, t % 2 == 0 ? "memory" : "latency");
        if (i % 50 == 0) metrics.Scrape();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::map<std::string, double> series = Parse(metrics.Scrape()).series;
  CHECK(series["embedd_images_total{outcome=\"ok\"}"] == 1000);
  CHECK(series["embedd_batch_size_sum{tower=\"image\"}"] == 2000);
  CHECK(series["embedd_request_seconds_count{method=\"EmbedBatch\"}"] == 1000);
}

}  // namespace
}  // namespace embedd
