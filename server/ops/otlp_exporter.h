// SPDX-License-Identifier: Apache-2.0
//
// OtlpExporter: sends the spans of sampled calls to an OpenTelemetry collector (--otlp-endpoint), as
// OTLP/HTTP JSON, from a thread of its own named otlp. Made by EmbeddServer. A collector that is slow or away
// costs spans, which are counted, and nothing else.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "server/config/otlp_endpoint.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/span_buffer.h"

namespace embedd {

class OtlpExporter {
 public:
  struct Options {
    OtlpEndpoint endpoint;
    std::string version;                           // of this server
    absl::Duration linger = absl::Seconds(1);      // calls that end within it go in one message
    absl::Duration timeout = absl::Seconds(5);     // of one message
    absl::Duration last_words = absl::Seconds(2);  // how long the end waits for what is still to be sent
    SpanBuffer::Options buffer;
  };

  OtlpExporter(Options options, Metrics* metrics);
  ~OtlpExporter();

  // Sends what is left, within `last_words`; what comes later is dropped. May be called twice, by one thread.
  void Stop();

  SpanBuffer* spans() { return &spans_; }

 private:
  void Run();

  const Options options_;
  Metrics* const metrics_;
  SpanBuffer spans_;
  struct Connection;  // of the HTTP library, which stays out of this header
  const std::unique_ptr<Connection> connection_;
  Mutex mu_;
  CondVar changed_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<bool> give_up_{false};
  std::thread thread_;
};

}  // namespace embedd
