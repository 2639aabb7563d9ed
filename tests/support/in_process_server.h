// SPDX-License-Identifier: Apache-2.0
//
// InProcessServer: a whole EmbeddServer on a free port with a FakeExecutor and a fake decoder, and a client
// for it. The device and the decoders can be held, so that a test decides what waits where.

#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "embedd/v1/embedding_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/embedd_server.h"
#include "server/support/mutex.h"
#include "server/telemetry/metrics.h"
#include "tests/support/fake_executor.h"

namespace embedd {

// A gate that device batches, or files to decode, pass one by one, or all.
class Gate {
 public:
  void Close();
  void Open();
  // Called by what passes: waits while the gate is closed.
  void Pass();
  // Waits until `n` have come to the gate since it was made.
  void WaitForArrivals(int n);

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = true;
  int arrivals_ ABSL_GUARDED_BY(mu_) = 0;
};

class InProcessServer {
 public:
  static constexpr int kSide = 2;       // images of the fake model are 2x2
  static constexpr int kDimension = 4;  // its vectors have four numbers

  // `config.listen` and `config.http` are replaced. With `serve` false the model stays LOADING until Serve.
  // Several `devices` are called cpu:0, cpu:1, … With `texts` the model has a second tower: a text's row is
  // FakeRow(its length).
  explicit InProcessServer(Config config = {}, bool serve = true, int devices = 1, bool texts = false);
  ~InProcessServer();

  void Serve();

  v1::EmbeddingService::Stub& stub() { return *stub_; }
  grpc::health::v1::Health::Stub& health() { return *health_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  EmbeddServer& server() { return *server_; }
  FakeExecutor& executor(size_t device = 0) { return *executors_[device]; }
  Gate& gate() { return gate_; }
  Gate& decode_gate() { return decode_gate_; }
  bool device_lost() const { return device_lost_.load(); }
  // Sizes of the batches of the first device that ran for callers, without those of the warm-up.
  std::vector<int> batches() const;
  // The value of a metric series, e.g. `embedd_images_total{outcome="ok"}`; 0 when it is not there.
  double Metric(const std::string& series) const;
  // Script of the fake executors beside the gate.
  void SetScript(FakeExecutor::Script script);

 private:
  std::string Scrape() const;

  const bool texts_;
  Gate gate_, decode_gate_;
  std::atomic<bool> device_lost_{false};
  std::vector<FakeExecutor*> executors_;  // owned by the server
  std::vector<std::unique_ptr<FakeExecutor>> not_served_yet_;
  size_t warm_up_batches_ = 0;
  std::unique_ptr<EmbeddServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::EmbeddingService::Stub> stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

// A 2x2 raw image all of one value: its row is FakeExecutor::FakeRow(value).
v1::Input RawInput(uint8_t value);
// The numbers of row `i` of a FLOAT32 response.
std::vector<float> Row(const v1::EmbedBatchResponse& response, int i);
// FakeRow(value) divided by its norm.
std::vector<float> UnitRow(uint8_t value);
// `reason` of the ErrorInfo in a status; empty when there is none.
std::string Reason(const grpc::Status& status);
// The value of a trailer; empty when there is none.
std::string Trailer(const grpc::ClientContext& context, const std::string& key);

}  // namespace embedd
