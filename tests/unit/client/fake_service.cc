// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/client/fake_service.h"

#include <chrono>
#include <cmath>

#include "embedd/v1/rpc_status.pb.h"
#include "grpcpp/server_builder.h"

namespace embedd::client {
namespace {

std::string Details(grpc::StatusCode code, const std::string& reason) {
  v1::wire::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("embedd");
  v1::wire::Status status;
  status.set_code(code);
  auto* detail = status.add_details();
  detail->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  detail->set_value(info.SerializeAsString());
  return status.SerializeAsString();
}

std::string Metadata(const grpc::ServerContext& context, const char* key) {
  const auto it = context.client_metadata().find(key);
  return it == context.client_metadata().end() ? "" : std::string(it->second.data(), it->second.size());
}

// Half of a small whole number.
uint16_t Half(float x) {
  if (x == 0) return 0;
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return static_cast<uint16_t>((exponent + 14) << 10 | (static_cast<int>(fraction * 2048) & 0x3ff));
}

void AppendRow(const std::vector<float>& row, bool half, std::string* data) {
  for (const float x : row) {
    const uint16_t h = Half(x);
    half ? data->append(reinterpret_cast<const char*>(&h), 2)
         : data->append(reinterpret_cast<const char*>(&x), 4);
  }
}

}  // namespace

FakeService::FakeService() {
  info.mutable_model()->set_name("fake");
  info.mutable_model()->set_fingerprint("fake-1");
  info.mutable_model()->set_dimension(kFakeDimension);
  info.mutable_limits()->set_max_message_bytes(64 << 20);
  info.mutable_limits()->set_max_inputs_per_request(1024);
  info.mutable_limits()->set_max_image_bytes(32 << 20);
  info.mutable_limits()->set_queue_images(1024);
  info.mutable_limits()->set_queue_bytes(512 << 20);
  info.set_state(v1::GetServerInfoResponse::READY);
}

std::vector<FakeService::Seen> FakeService::seen() const {
  MutexLock lock(&mu_);
  return seen_;
}

grpc::Status FakeService::EmbedBatch(grpc::ServerContext* context, const v1::EmbedBatchRequest* request,
                                     v1::EmbedBatchResponse* response) {
  int call = 0;
  {
    MutexLock lock(&mu_);
    call = static_cast<int>(seen_.size());
    seen_.push_back({.inputs = static_cast<size_t>(request->inputs_size()),
                     .expect_fingerprint = request->expect_fingerprint(),
                     .authorization = Metadata(*context, "authorization"),
                     .priority = request->priority()});
  }
  if (before) {
    if (auto status = before(call, *request, context); !status.ok()) return status;
  }
  const bool half = request->encoding() == v1::ENCODING_FLOAT16;
  response->set_dimension(kFakeDimension);
  response->set_encoding(half ? v1::ENCODING_FLOAT16 : v1::ENCODING_FLOAT32);
  response->set_model_fingerprint(info.model().fingerprint());
  response->mutable_timing()->set_total_ns(5'000'000);
  response->mutable_timing()->set_execute_ns(3'000'000);
  for (int i = 0; i < request->inputs_size(); ++i) {
    const auto& input = request->inputs(i);
    const auto& bytes = input.has_raw_image() ? input.raw_image().rgb()
                        : input.has_text()    ? input.text()
                                              : input.image();
    const bool bad = bytes.compare(0, 3, "bad") == 0;
    const float first = bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]);
    const bool normalize = !request->has_normalize() || request->normalize();
    AppendRow(bad ? std::vector<float>(kFakeDimension)
                  : std::vector<float>{static_cast<float>(bytes.size()), first, normalize ? 1.0F : 0.0F, 0},
              half, response->mutable_data());
    if (!bad) continue;
    auto* error = response->add_errors();
    error->set_index(static_cast<uint32_t>(i));
    error->set_code(grpc::StatusCode::INVALID_ARGUMENT);
    error->set_reason("CORRUPT_IMAGE");
    error->set_message("inputs[" + std::to_string(i) + "].image: not an image");
  }
  return grpc::Status::OK;
}

grpc::Status FakeService::GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                                        v1::GetServerInfoResponse* response) {
  *response = info;
  return grpc::Status::OK;
}

grpc::Status FakeHealth::Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest* request,
                               grpc::health::v1::HealthCheckResponse* response) {
  if (!request->service().empty() && request->service() != "embedd.v1.EmbeddingService") {
    return {grpc::StatusCode::NOT_FOUND, "no such service"};
  }
  if (const int check = checks++; before) before(check);
  response->set_status(status);
  return grpc::Status::OK;
}

FakeServer::FakeServer(int port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(64 << 20);
  builder.RegisterService(&service);
  builder.RegisterService(&health);
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() { Kill(); }

void FakeServer::Kill() {
  if (server_) server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

grpc::Status QueueFull(grpc::ServerContext* context, const std::string& pushback_ms) {
  context->AddTrailingMetadata("grpc-retry-pushback-ms", pushback_ms);
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full",
          Details(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL")};
}

grpc::Status Loading() {
  return {grpc::StatusCode::UNAVAILABLE, "the model is loading",
          Details(grpc::StatusCode::UNAVAILABLE, "MODEL_LOADING")};
}

}  // namespace embedd::client
