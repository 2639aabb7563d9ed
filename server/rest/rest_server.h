// SPDX-License-Identifier: Apache-2.0
//
// RestServer: the connections of the REST door, on one thread named rest that waits in poll(), and a few work
// threads for its handlers.
//
// It is our own for the reasons of ops/http_server.h, and for one more: a thread for each connection, as
// packaged HTTP libraries have it, learns that a client has gone only when it writes, and what a client that
// has gone asked for must leave the queue. Here a connection costs a descriptor; heads, bodies and answers
// have a bounded time each; bodies come in only where the handler's Admit has a place for them.

#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/rest/http_head.h"
#include "server/rest/rest_call.h"
#include "server/rest/rest_socket.h"
#include "server/rest/work_threads.h"
#include "server/support/clock.h"

namespace embedd {

class RestServer {
 public:
  // Looks at a head before the body is read: what to answer instead of reading on, or nothing, and then what
  // the body takes of a budget in `place`. Runs on the network thread: must not block.
  using Admit =
      std::function<std::optional<RestResponse>(const RestHead& head, std::shared_ptr<void>* place)>;
  // Answers a whole request, sooner or later. Runs on a work thread.
  using Handle = std::function<void(std::shared_ptr<RestCall>)>;

  struct Options {
    std::string address;                           // HOST:PORT; port 0 takes a free one
    std::string tls_cert, tls_key, tls_client_ca;  // PEM files; empty: no TLS
    Admit admit;
    Handle handle;
    size_t max_connections = 256;
    int work_threads = 2;
    absl::Duration min_time = absl::Seconds(1);        // nobody who is silent has to make room earlier
    absl::Duration head_time = absl::Seconds(10);      // for a head to come, and for the TLS handshake
    absl::Duration idle_time = absl::Seconds(60);      // between requests
    absl::Duration transfer_time = absl::Seconds(30);  // for a body to come, for an answer to leave
    int64_t least_rate = 256 << 10;                    // bytes a second: long transfers get more time
    Clock* clock = Clock::Real();
  };

  // Binds and starts. AlreadyExists: the address is in use; InvalidArgument: a certificate or key is
  // unusable; other errors as OpenListenSocket.
  static absl::StatusOr<std::unique_ptr<RestServer>> Start(Options options);
  // Closes every connection, tells the calls whose clients have gone so, and ends the threads.
  ~RestServer();
  RestServer(const RestServer&) = delete;
  RestServer& operator=(const RestServer&) = delete;

  int port() const { return port_; }

 private:
  struct Connection;
  struct Outbox;  // answers on their way to the network thread

  RestServer(Options options, TlsContext tls, int listen_fd, int port, std::shared_ptr<Outbox> outbox);
  void Run();
  int PollTimeout() const;
  void AcceptAll();
  bool MakeRoom();
  void CloseExpired();
  void TakeAnswers();
  // Goes on with a connection as far as it can. False: it is done.
  bool Step(Connection* connection);
  bool ReadSome(Connection* connection);
  bool OnHead(Connection* connection);
  bool WriteSome(Connection* connection);
  void Respond(Connection* connection, RestResponse response, bool keep_alive);
  void Dispatch(Connection* connection);
  absl::Duration TransferTime(size_t bytes) const;

  const Options options_;
  const TlsContext tls_;
  const int listen_fd_, port_;
  const std::shared_ptr<Outbox> outbox_;
  const std::shared_ptr<WorkThreads> work_;
  std::list<std::unique_ptr<Connection>> connections_;  // oldest first; only touched by the thread
  uint64_t last_number_ = 0;
  bool paused_ = false;  // full, or out of descriptors: wait a moment before the next accept
  std::thread thread_;   // last: it uses the others
};

}  // namespace embedd
