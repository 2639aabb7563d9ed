// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/health_service.h"

#include <optional>
#include <set>
#include <string>

#include "server/rpc/status_feed.h"

namespace embedd {
namespace {

namespace wire = grpc::health::v1;

bool IsOurs(const std::string& service) { return service.empty() || service == "embedd.v1.EmbeddingService"; }

}  // namespace

// The open Watch calls. Each holds it by shared_ptr, so it outlives the service while gRPC ends them.
class HealthService::Watchers {
 public:
  class Watcher final : public grpc::ServerWriteReactor<wire::HealthCheckResponse> {
   public:
    Watcher(std::shared_ptr<Watchers> all, wire::HealthCheckResponse::ServingStatus now)
        : all_(std::move(all)) {
      Tell(now);
    }

    void Tell(wire::HealthCheckResponse::ServingStatus status) {
      MutexLock lock(&mu_);
      WriteLocked(feed_.Change(status));
    }

    void OnWriteDone(bool ok) override {
      if (!ok) return End();
      MutexLock lock(&mu_);
      WriteLocked(feed_.Written());
    }

    void OnCancel() override { End(); }

    void OnDone() override {
      all_->Remove(this);
      delete this;
    }

   private:
    // The lock is held while gRPC is asked to write: nothing may be asked after Finish. gRPC answers on other
    // threads.
    void WriteLocked(std::optional<wire::HealthCheckResponse::ServingStatus> status)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      if (!status.has_value()) return;
      response_.set_status(*status);
      StartWrite(&response_);
    }

    void End() {
      {
        MutexLock lock(&mu_);
        if (!feed_.End()) return;
      }
      Finish(grpc::Status::CANCELLED);
    }

    const std::shared_ptr<Watchers> all_;
    wire::HealthCheckResponse response_;  // being written
    Mutex mu_;
    StatusFeed<wire::HealthCheckResponse::ServingStatus> feed_ ABSL_GUARDED_BY(mu_);
  };

  void Add(Watcher* watcher) {
    MutexLock lock(&mu_);
    watchers_.insert(watcher);
    watcher->Tell(now_);  // in case it changed meanwhile
  }
  void Remove(Watcher* watcher) {
    MutexLock lock(&mu_);
    watchers_.erase(watcher);
  }
  void TellAll(wire::HealthCheckResponse::ServingStatus status) {
    MutexLock lock(&mu_);
    now_ = status;
    for (Watcher* watcher : watchers_) watcher->Tell(status);
  }

 private:
  Mutex mu_;  // held while watchers are told, so that none is deleted meanwhile
  wire::HealthCheckResponse::ServingStatus now_ ABSL_GUARDED_BY(mu_) = wire::HealthCheckResponse::NOT_SERVING;
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mu_);
};

HealthService::HealthService(StateBoard* state) : state_(state), watchers_(std::make_shared<Watchers>()) {
  state_->Subscribe([watchers = watchers_](ServerState, bool serving) {
    watchers->TellAll(serving ? wire::HealthCheckResponse::SERVING : wire::HealthCheckResponse::NOT_SERVING);
  });
}

HealthService::~HealthService() = default;

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const wire::HealthCheckRequest* request,
                                               wire::HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!IsOurs(request->service())) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such service here"));
    return reactor;
  }
  response->set_status(state_->serving() ? wire::HealthCheckResponse::SERVING
                                         : wire::HealthCheckResponse::NOT_SERVING);
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<wire::HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const wire::HealthCheckRequest* request) {
  if (!IsOurs(request->service())) {
    return new Watchers::Watcher(watchers_, wire::HealthCheckResponse::SERVICE_UNKNOWN);
  }
  auto* watcher =
      new Watchers::Watcher(watchers_, state_->serving() ? wire::HealthCheckResponse::SERVING
                                                         : wire::HealthCheckResponse::NOT_SERVING);
  watchers_->Add(watcher);
  return watcher;
}

}  // namespace embedd
