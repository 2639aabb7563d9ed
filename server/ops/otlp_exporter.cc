// SPDX-License-Identifier: Apache-2.0

#include "server/ops/otlp_exporter.h"

#include <chrono>
#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "server/ops/otlp_json.h"
#include "server/support/log.h"
#include "server/support/process.h"

namespace embedd {

struct OtlpExporter::Connection {
  explicit Connection(const Options& options) : client(options.endpoint.host, options.endpoint.port) {
    const auto whole = std::chrono::microseconds(absl::ToInt64Microseconds(options.timeout));
    client.set_connection_timeout(whole);
    client.set_read_timeout(whole);
    client.set_write_timeout(whole);
    client.set_keep_alive(true);
  }
  httplib::Client client;
};

OtlpExporter::OtlpExporter(Options options, Metrics* metrics)
    : options_(std::move(options)),
      metrics_(metrics),
      spans_(options_.buffer, metrics),
      connection_(std::make_unique<Connection>(options_)),
      thread_([this] { Run(); }) {}

OtlpExporter::~OtlpExporter() { Stop(); }

void OtlpExporter::Stop() {
  if (!thread_.joinable()) return;
  spans_.Stop();
  {
    MutexLock lock(&mu_);
    if (!ended_) changed_.WaitFor(&mu_, options_.last_words);
  }
  give_up_.store(true);
  connection_->client.stop();  // what is under way fails
  thread_.join();
}

void OtlpExporter::Run() {
  SetThreadName("otlp");
  absl::BitGen random;
  bool told = false;
  while (true) {
    const std::vector<CallSpan> calls = spans_.Take(options_.linger);
    if (calls.empty()) break;
    std::string error;
    if (give_up_.load()) {
      metrics_->CountSpans("dropped", static_cast<int64_t>(calls.size()));
      continue;
    }
    try {
      const httplib::Result answer = connection_->client.Post(
          options_.endpoint.path, ToOtlpJson(calls, options_.version, random), "application/json");
      if (!answer) {
        error = httplib::to_string(answer.error());
      } else if (answer->status < 200 || answer->status > 299) {
        error = absl::StrCat("it answered ", answer->status);
      }
    } catch (const std::exception& e) {
      error = e.what();
    }
    metrics_->CountSpans(error.empty() ? "sent" : "dropped", static_cast<int64_t>(calls.size()));
    if (!error.empty() && !told) {
      LogWarn("spans are lost: the collector at --otlp-endpoint does not take them", {{"error", error}});
    } else if (error.empty() && told) {
      LogInfo("the collector takes spans again");
    }
    told = !error.empty();
  }
  MutexLock lock(&mu_);
  ended_ = true;
  changed_.SignalAll();
}

}  // namespace embedd
