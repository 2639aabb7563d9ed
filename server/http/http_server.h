// SPDX-License-Identifier: Apache-2.0
//
// HttpServer: the HTTP/1.1 of the pages of ops/ and of the REST door, which have one each: connections on one
// thread that waits in poll(), and work threads for handlers.
//
// It is our own, because it must be harmless under any client: packaged HTTP libraries give each connection a
// thread and restart their timeout at every byte, so a few clients that send a byte per second shut out
// everybody else, and enough of them take all file descriptors of the process. And such a thread learns that
// a client has gone only when it writes, while what that client asked for must leave the queue. Here a
// connection costs a descriptor; heads, bodies and answers have a bounded time each; the number of
// connections is bounded, and when all are taken, the longest silent makes room; bodies come in only where
// Admit has a place for them.

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
#include "server/http/http_call.h"
#include "server/http/http_message.h"
#include "server/http/http_socket.h"
#include "server/http/listen_socket.h"
#include "server/http/work_threads.h"
#include "server/support/clock.h"

namespace embedd {

class HttpServer {
 public:
  // Looks at a head before the body is read: what to answer instead of reading on, or nothing, and then what
  // the body takes of a budget in `place`. Runs on the network thread: must not block.
  using Admit =
      std::function<std::optional<HttpResponse>(const HttpHead& head, std::shared_ptr<void>* place)>;
  // Answers a whole request, sooner or later. Runs on a work thread.
  using Handle = std::function<void(std::shared_ptr<HttpCall>)>;
  // The door's words for what the server itself refuses.
  using Error = std::function<HttpResponse(const HttpProblem&)>;

  struct Options {
    std::string name;                              // of the thread; work threads are NAME-work
    std::string address;                           // HOST:PORT; port 0 takes a free one
    std::string tls_cert, tls_key, tls_client_ca;  // PEM files; empty: no TLS
    Admit admit;
    Handle handle;         // never called where Admit answers everything
    int work_threads = 0;  // for handle
    Error error;
    size_t max_connections = 256;
    absl::Duration min_time = absl::Seconds(1);        // nobody who is silent has to make room earlier
    absl::Duration head_time = absl::Seconds(10);      // for a head to come, and for the TLS handshake
    absl::Duration idle_time = absl::Seconds(60);      // between requests; 0: one request a connection
    absl::Duration transfer_time = absl::Seconds(30);  // for a body to come, for an answer to leave
    int64_t least_rate = 256 << 10;                    // bytes a second: long transfers get more time
    Clock* clock = Clock::Real();
  };

  // Binds and starts. AlreadyExists: the address is in use; InvalidArgument: a certificate or key is
  // unusable; other errors as OpenListenSocket.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  // Closes every connection, tells the calls whose clients have gone so, and ends the threads.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }

 private:
  struct Connection;
  struct Outbox;  // answers on their way to the network thread

  HttpServer(Options options, TlsContext tls, ListenSocket on, std::shared_ptr<Outbox> outbox);
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
  void Respond(Connection* connection, HttpResponse response);
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
