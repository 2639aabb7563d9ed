// SPDX-License-Identifier: Apache-2.0
//
// One call of the user: its requests, several in flight, refused ones waiting for their next attempt, rows
// put in place as answers come in any order. Runs on the user's thread alone: answers and waits are events of
// one completion queue, so nothing here is locked.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/src/connection.h"
#include "client/cpp/src/source.h"
#include "client/cpp/src/split.h"
#include "embedd/client.h"
#include "grpcpp/completion_queue.h"

namespace embedd::client::internal {

class EmbedCall {
 public:
  // Everything must outlive the call.
  EmbedCall(const Connection& connection, const Source& source, const EmbedOptions& options);
  ~EmbedCall();

  // `inputs`: how many the source holds. Once.
  absl::StatusOr<EmbedResult> Run(std::span<const Part> parts, size_t inputs);

 private:
  struct Request;
  struct Question;

  // Builds the message of a part and sends it; does neither when no input of it is fit to be sent.
  void Start(const Part& part);
  // Sends it to the replica that will be through first.
  void Send(Request* request);
  // The answer of an attempt, good or bad.
  void OnAnswer(Request* request);
  void Refused(Request* request, Failure failure);
  // Asks the servers in use for their health, now and then, and goes on. Heard: whether `tag` is an answer.
  void AskHealth();
  bool HeardHealth(void* tag);
  // No server takes a request of its size, though they did when the call was cut.
  void TooLarge(Request* request);
  Load LoadOf(const Request& request) const;
  // Ends the call with an error: what is in flight is cancelled, what waits is woken.
  void Fail(absl::Status status);
  void Remove(Request* request);

  const Connection& connection_;
  const Source& source_;
  const EmbedOptions& options_;
  size_t inputs_ = 0;
  EmbedResult result_;
  std::string first_target_;  // where the first rows came from
  absl::Status status_;
  std::vector<std::unique_ptr<Request>> active_;
  std::vector<std::unique_ptr<Question>> questions_;  // that are not answered yet
  grpc::CompletionQueue events_;
};

}  // namespace embedd::client::internal
