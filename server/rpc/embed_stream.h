// SPDX-License-Identifier: Apache-2.0
//
// EmbedStream: a bidirectional stream of inputs and answers, in the order sent. Two things bound a stream: a
// window of inputs that are accepted and not yet written back, and the places of the queue. Where either is
// used up the server stops reading, and HTTP/2 flow control slows the sender down; a slow reader holds its
// own window and nobody else's.

#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <list>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/road.h"
#include "server/support/mutex.h"

namespace embedd {

// The open streams, so that a drain can tell them to stop reading. Thread-safe.
class OpenStreams {
 public:
  using Entry = std::list<std::function<void()>>::iterator;
  Entry Add(std::function<void()> stop_reading);
  void Remove(Entry entry);
  // Each stream answers what it has accepted and then ends with UNAVAILABLE (DRAINING).
  void Drain();

 private:
  Mutex mu_;
  std::list<std::function<void()>> streams_ ABSL_GUARDED_BY(mu_);
};

// Of bytes: where gRPC reads messages, one that is none of ours looks like the end of the stream.
using StreamReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// Starts the stream. The reactor owns itself.
StreamReactor* StartEmbedStream(Road* road, OpenStreams* streams, grpc::CallbackServerContext* context);

}  // namespace embedd
