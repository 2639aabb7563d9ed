// SPDX-License-Identifier: Apache-2.0

#include "tests/support/in_process_server.h"

#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "embedd/v1/rpc_status.pb.h"
#include "httplib.h"
#include "tests/support/metric_value.h"

namespace embedd {
namespace {

// "px" and a byte is a picture of that value, "too much" finds no memory; anything else is corrupt.
class FakeDecoder final : public ImageDecoder {
 public:
  explicit FakeDecoder(Gate* gate) : gate_(gate) {}

  absl::StatusOr<RgbImage> Decode(absl::string_view file) const override {
    gate_->Pass();
    if (file == "too much") throw std::bad_alloc();
    if (file.size() != 3 || file[0] != 'p' || file[1] != 'x')
      return DecodeError(Reason::kCorruptImage, "not a fake picture");
    RgbImage image{.width = 2, .height = 2, .rgb = std::make_unique<uint8_t[]>(12)};
    std::memset(image.rgb.get(), static_cast<unsigned char>(file[2]), 12);
    return image;
  }

 private:
  Gate* const gate_;
};

ModelSpec FakeSpec(bool texts) {
  ModelSpec spec;
  spec.name = "fake";
  spec.architecture = "fake";
  spec.fingerprint = "f00d";
  spec.device = "cpu";
  spec.dtype = Dtype::kF32;
  spec.dimension = InProcessServer::kDimension;
  spec.image.height = spec.image.width = InProcessServer::kSide;
  spec.towers = {"image"};
  if (texts) {
    spec.towers.push_back("text");
    spec.text =
        ModelSpec::Text{.dimension = InProcessServer::kDimension, .context_length = 1, .fingerprint = "7e87"};
  }
  return spec;
}

}  // namespace

void Gate::Close() {
  MutexLock lock(&mu_);
  open_ = false;
}

void Gate::Open() {
  MutexLock lock(&mu_);
  open_ = true;
  changed_.SignalAll();
}

void Gate::Pass() {
  MutexLock lock(&mu_);
  ++arrivals_;
  changed_.SignalAll();
  while (!open_) changed_.Wait(&mu_);
}

void Gate::WaitForArrivals(int n) {
  MutexLock lock(&mu_);
  while (arrivals_ < n) changed_.Wait(&mu_);
}

InProcessServer::InProcessServer(Config config, bool serve, int devices, bool texts) : texts_(texts) {
  config.listen = {"127.0.0.1:0"};
  config.http = "127.0.0.1:0";
  config.log_level = "error";
  config.decode_threads = 2;
  for (int i = 0; i < devices; ++i) {
    not_served_yet_.push_back(std::make_unique<FakeExecutor>(FakeExecutor::Options{
        .dimension = kDimension, .pixel_bytes = 3 * kSide * kSide, .text_weight_bytes = texts ? 10 : 0}));
    executors_.push_back(not_served_yet_.back().get());
  }
  absl::StatusOr<std::unique_ptr<EmbeddServer>> server = EmbeddServer::Create(
      config, {.decoder = std::make_unique<FakeDecoder>(&decode_gate_)}, [this] { device_lost_ = true; });
  if (!server.ok()) throw std::runtime_error(server.status().ToString());
  server_ = *std::move(server);
  channel_ = grpc::CreateChannel(server_->addresses()[0], grpc::InsecureChannelCredentials());
  stub_ = v1::EmbeddingService::NewStub(channel_);
  health_ = grpc::health::v1::Health::NewStub(channel_);
  if (serve) Serve();
}

InProcessServer::~InProcessServer() {
  gate_.Open();
  decode_gate_.Open();
}

void InProcessServer::Serve() {
  EmbeddServer::Model model{.spec = FakeSpec(texts_)};
  if (texts_) {
    model.encode_text = [](absl::string_view text) {
      return std::vector<int32_t>{static_cast<int32_t>(text.size())};
    };
  }
  for (size_t i = 0; i < not_served_yet_.size(); ++i) {
    const std::string name = not_served_yet_.size() == 1 ? "cpu" : absl::StrCat("cpu:", i);
    model.devices.push_back({.executor = std::move(not_served_yet_[i]), .name = name});
  }
  const absl::Status served = server_->Serve(std::move(model));
  if (!served.ok()) throw std::runtime_error(served.ToString());
  warm_up_batches_ = executor().batch_sizes().size();
  SetScript({});
}

void InProcessServer::SetScript(FakeExecutor::Script script) {
  auto on_run = std::move(script.on_run);
  script.on_run = [this, on_run](int images, int bucket) {
    gate_.Pass();
    return on_run ? on_run(images, bucket) : absl::OkStatus();
  };
  for (FakeExecutor* executor : executors_) executor->SetScript(script);
}

std::vector<int> InProcessServer::batches() const {
  std::vector<int> all = executors_[0]->batch_sizes();
  return {all.begin() + static_cast<std::ptrdiff_t>(warm_up_batches_), all.end()};
}

std::string InProcessServer::Scrape() const {
  const std::string& address = server_->http_address();
  httplib::Client client(address.substr(0, address.rfind(':')),
                         std::stoi(address.substr(address.rfind(':') + 1)));
  const httplib::Result result = client.Get("/metrics");
  return result ? result->body : "";
}

double InProcessServer::Metric(const std::string& series) const {
  try {
    return MetricValue(Scrape(), series);
  } catch (const std::runtime_error&) {
    return 0;
  }
}

v1::Input RawInput(uint8_t value) {
  v1::Input input;
  input.mutable_raw_image()->set_width(InProcessServer::kSide);
  input.mutable_raw_image()->set_height(InProcessServer::kSide);
  input.mutable_raw_image()->set_rgb(
      std::string(3 * InProcessServer::kSide * InProcessServer::kSide, static_cast<char>(value)));
  return input;
}

std::vector<float> Row(const v1::EmbedBatchResponse& response, int i) {
  std::vector<float> row(response.dimension());
  std::memcpy(row.data(), response.data().data() + static_cast<size_t>(i) * row.size() * sizeof(float),
              row.size() * sizeof(float));
  return row;
}

std::vector<float> UnitRow(uint8_t value) {
  std::vector<float> row = FakeExecutor::FakeRow(value, InProcessServer::kDimension);
  double sum = 0;
  for (const float v : row) sum += double(v) * v;
  for (float& v : row) v = static_cast<float>(v / std::sqrt(sum));
  return row;
}

std::string Reason(const grpc::Status& status) {
  v1::wire::Status wire;
  if (!wire.ParseFromString(status.error_details())) return "";
  for (const v1::wire::Any& any : wire.details()) {
    v1::wire::ErrorInfo info;
    if (any.type_url() == "type.googleapis.com/google.rpc.ErrorInfo" && info.ParseFromString(any.value())) {
      return info.reason();
    }
  }
  return "";
}

std::string Trailer(const grpc::ClientContext& context, const std::string& key) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(key);
  return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
}

}  // namespace embedd
