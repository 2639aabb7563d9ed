// SPDX-License-Identifier: Apache-2.0
//
// RestDoor: POST /v1/embeddings and GET /v1/models over HTTP, as OpenAI's clients send them. Sockets and
// bodies are rest/'s; here a body becomes the inputs of a BatchCall, and what comes out an answer in the
// words of that API. Same tokens, admission, lanes, deadlines and metrics as EmbedBatch.

#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "server/http/http_server.h"
#include "server/queue/places.h"
#include "server/rpc/call_failure.h"
#include "server/rpc/road.h"

namespace embedd {

class RestDoor {
 public:
  // A body, the strings of it that the JSON reader holds, and the bytes decoded from them.
  static constexpr int64_t kCopiesOfBody = 3;

  struct Options {
    std::string address;                           // HOST:PORT; port 0 takes a free one
    std::string tls_cert, tls_key, tls_client_ca;  // PEM files; empty: no TLS
    int64_t body_bytes = int64_t{256} << 20;       // that all bodies with their copies may take at once
  };

  // Errors as HttpServer's. `road` must outlive this.
  static absl::StatusOr<std::unique_ptr<RestDoor>> Start(const Options& options, Road* road);

  int port() const { return server_->port(); }

 private:
  RestDoor(const Options& options, Road* road);
  std::optional<HttpResponse> Admit(const HttpHead& head, std::shared_ptr<void>* place);
  void Handle(std::shared_ptr<HttpCall> http);
  // An answer at once, counted.
  HttpResponse Counted(const char* method, HttpResponse response, int code);

  Road* const road_;
  const absl::Time started_;
  PlaceBudget bodies_;
  std::unique_ptr<HttpServer> server_;  // last: its threads use the others
};

// What a failure is in HTTP: status, error, and when to come back.
HttpResponse ToHttpResponse(const CallFailure& failure);

}  // namespace embedd
