// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/rest_door.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/rest/openai_embeddings.h"
#include "server/rpc/batch_call.h"
#include "server/rpc/infer_message.h"
#include "server/rpc/status_mapping.h"
#include "server/support/wall_time.h"

namespace embedd {
namespace {

constexpr char kEmbeddings[] = "embeddings", kModels[] = "models";  // `method` of the metrics
constexpr char kEmbeddingsPath[] = "/v1/embeddings", kModelsPath[] = "/v1/models";

int HttpStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:  // 409 and 412 would be tried again, or not understood
    case absl::StatusCode::kUnimplemented:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

// One POST /v1/embeddings. Holds itself while it is on the road; its answer holds it until that has left.
class Embedding final : public std::enable_shared_from_this<Embedding> {
 public:
  Embedding(Road* road, std::shared_ptr<HttpCall> http)
      : road_(road), http_(std::move(http)), call_(road, kEmbeddings) {}

  void Start() {
    // Its token was looked at when the head came.
    BatchCall::Caller caller{.flow = http_->flow, .trace = ParseTraceParent(http_->head.traceparent)};
    if (http_->head.timeout != absl::InfiniteDuration())
      caller.deadline = road_->clock->TimeNow() + http_->head.timeout;
    if (auto failure = Read()) {
      return Finish(call_.Refuse(*std::move(failure), std::max(1, request_.inputs_size())), {});
    }
    const std::shared_ptr<Embedding> self = shared_from_this();
    call_.Start(caller, request_, self, [self](std::optional<CallFailure> failure, CallResult result) {
      // On a thread of the road: what takes long is done on one of the door.
      const auto ended = std::make_shared<std::pair<std::optional<CallFailure>, CallResult>>(
          std::move(failure), std::move(result));
      self->http_->Run([self, ended] { self->Finish(std::move(ended->first), std::move(ended->second)); });
    });
    http_->OnGone([self] { self->call_.Cancel(); });
  }

 private:
  std::optional<CallFailure> Read() {
    if (auto failure = CheckServing(*road_)) return failure;
    const ModelSpec& model = *road_->model.load();
    EmbeddingsRequest asked;
    std::string param;
    const absl::Status status = ParseEmbeddings(http_->body, road_->limits.max_inputs, &asked, &param);
    std::string().swap(http_->body);
    if (!status.ok()) return CallFailure{.status = status, .reason = Reason::kInvalidRequest, .field = param};
    if (!asked.model.empty() && asked.model != model.name) {
      auto failure = CheckModelName(asked.model, "", model);
      failure->field = "model";
      return failure;
    }
    if (asked.dimensions != 0 && asked.dimensions != model.dimension) {
      return CallFailure{.status = absl::InvalidArgumentError(absl::StrCat(
                             "dimensions: this model's vectors have ", model.dimension, ", not others")),
                         .reason = Reason::kInvalidRequest,
                         .field = "dimensions"};
    }
    base64_ = asked.base64;
    if (asked.normalize) request_.set_normalize(*asked.normalize);
    if (asked.bulk) request_.set_priority(v1::PRIORITY_BULK);
    request_.set_expect_fingerprint(std::move(asked.expect_fingerprint));
    for (EmbeddingsRequest::Input& input : asked.inputs) {
      v1::Input* const to = request_.add_inputs();
      if (input.image) {
        to->set_image(std::move(input.bytes));
      } else {
        to->set_text(std::move(input.bytes));
      }
    }
    http_->place.reset();  // from here on the road counts the bytes
    return std::nullopt;
  }

  void Finish(std::optional<CallFailure> failure, CallResult result) {
    if (!failure.has_value() && !result.failures.empty()) {
      failure = JoinFailures(result.failures);
      failure->field = absl::StrCat("input[", result.failures[0].index, "]");
    }
    HttpResponse response;
    if (failure.has_value()) {
      response = ToHttpResponse(*failure);
    } else {
      response.body = WriteEmbeddings(result.data, call_.model().dimension, base64_, call_.model().name,
                                      call_.fingerprint());
      if (road_->answered != nullptr) road_->answered->Count(call_.inputs());
    }
    call_.CountEnd(failure.has_value() ? ToRpcCode(failure->status) : 0);
    response.hold = shared_from_this();
    http_->Answer(std::move(response));
  }

  Road* const road_;
  const std::shared_ptr<HttpCall> http_;
  v1::EmbedBatchRequest request_;
  bool base64_ = false;
  BatchCall call_;
};

}  // namespace

HttpResponse ToHttpResponse(const CallFailure& failure) {
  const bool unknown_model = absl::IsNotFound(failure.status) && failure.field != "";
  const std::string code = absl::IsUnauthenticated(failure.status) ? "invalid_api_key"
                           : unknown_model                         ? "model_not_found"
                                                                   : std::string(ReasonWord(failure.reason));
  // A queue that is full, and what one input lacks, have one code; only the first is worth another try.
  const bool queue = failure.reason == Reason::kQueueFull;
  const int status = absl::IsResourceExhausted(failure.status) && !queue ? 500 : HttpStatus(failure.status);
  HttpResponse response =
      ErrorResponse(status, failure.status.message(), unknown_model ? "model" : failure.field, code);
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (!failure.retry_after.has_value()) return response;
  if (*failure.retry_after < absl::ZeroDuration()) {
    response.headers.emplace_back("x-should-retry", "false");
    return response;
  }
  const int64_t ms = std::max<int64_t>(1, absl::ToInt64Milliseconds(*failure.retry_after));
  response.headers.emplace_back("Retry-After", absl::StrCat((ms + 999) / 1000));
  response.headers.emplace_back("retry-after-ms", absl::StrCat(ms));
  return response;
}

RestDoor::RestDoor(const Options& options, Road* road)
    : road_(road), started_(WallTime()), bodies_({.images = 1 << 30, .bytes = options.body_bytes}) {}

absl::StatusOr<std::unique_ptr<RestDoor>> RestDoor::Start(const Options& options, Road* road) {
  std::unique_ptr<RestDoor> self(new RestDoor(options, road));
  RestDoor* const door = self.get();
  absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(
      {.name = "rest",
       .address = options.address,
       .tls_cert = options.tls_cert,
       .tls_key = options.tls_key,
       .tls_client_ca = options.tls_client_ca,
       .admit = [door](const HttpHead& head,
                       std::shared_ptr<void>* place) { return door->Admit(head, place); },
       .handle = [door](std::shared_ptr<HttpCall> http) { door->Handle(std::move(http)); },
       .work_threads = 2,
       .error = [](const HttpProblem& problem) { return ErrorResponse(problem.status, problem.text); },
       .clock = road->clock});
  if (!server.ok()) return server.status();
  self->server_ = *std::move(server);
  return self;
}

HttpResponse RestDoor::Counted(const char* method, HttpResponse response, int code) {
  road_->metrics->CountRequest(method, CodeName(code), absl::ZeroDuration());
  return response;
}

std::optional<HttpResponse> RestDoor::Admit(const HttpHead& head, std::shared_ptr<void>* place) {
  const bool embeddings = head.path == kEmbeddingsPath;
  if (!embeddings && head.path != kModelsPath && !absl::StartsWith(head.path, absl::StrCat(kModelsPath, "/")))
    return ErrorResponse(404, "there are POST /v1/embeddings and GET /v1/models here", "", "unknown_url");
  const char* const method = embeddings ? kEmbeddings : kModels;
  const char* const verb = embeddings ? "POST" : "GET";
  if (head.method != verb) {
    HttpResponse response = ErrorResponse(405, absl::StrCat("use ", verb), "", "method_not_allowed");
    response.headers.emplace_back("Allow", verb);
    return response;
  }
  const auto refuse = [&](const CallFailure& failure) {
    road_->metrics->CountRejected(failure.reason);
    return Counted(method, ToHttpResponse(failure), ToRpcCode(failure.status));
  };
  if (!road_->tokens->AllowsHeader(head.authorization)) return refuse(Unauthenticated());
  if (auto failure = CheckServing(*road_)) return refuse(*failure);
  if (head.content_length > (embeddings ? road_->limits.max_message_bytes : 0)) {
    const CallFailure failure{
        .status = absl::ResourceExhaustedError(absl::StrCat(
            "the body has ", head.content_length, " bytes; the limit is ",
            embeddings ? road_->limits.max_message_bytes : 0, embeddings ? " (--max-message-bytes)" : "")),
        .reason = Reason::kInvalidRequest};
    refuse(failure);
    return ErrorResponse(413, failure.status.message(), "", "INVALID_REQUEST");
  }
  absl::StatusOr<Places> taken = bodies_.Reserve(0, kCopiesOfBody * head.content_length);
  if (!taken.ok())
    return refuse(QueueFull(absl::ResourceExhaustedError(taken.status().message()), *road_, 0));
  *place = std::make_shared<Places>(*std::move(taken));
  return std::nullopt;
}

void RestDoor::Handle(std::shared_ptr<HttpCall> http) {
  if (http->head.path == kEmbeddingsPath) {
    std::make_shared<Embedding>(road_, std::move(http))->Start();
    return;
  }
  const ModelSpec* const model = road_->model.load();
  if (model == nullptr) {  // it was there when the head came
    http->Answer(ErrorResponse(503, "the model is not there"));
    return;
  }
  absl::string_view path = http->head.path;
  const bool all = path == kModelsPath || path == absl::StrCat(kModelsPath, "/");
  absl::ConsumePrefix(&path, absl::StrCat(kModelsPath, "/"));
  const std::string name = PercentDecoded(path);
  if (!all && name != model->name) {
    const CallFailure failure = *CheckModelName(name, "", *model);
    http->Answer(Counted(kModels, ToHttpResponse(failure), ToRpcCode(failure.status)));
    return;
  }
  HttpResponse response;
  response.body = WriteModel(model->name, absl::ToUnixSeconds(started_), all);
  http->Answer(Counted(kModels, std::move(response), 0));
}

}  // namespace embedd
