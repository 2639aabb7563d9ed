// SPDX-License-Identifier: Apache-2.0
//
// HttpServer: answers GET requests of people and of Prometheus, on one thread named http that waits in
// poll(). Made by EmbeddServer; the pages are in ops_pages.h.
//
// It is our own, because it must be harmless under any client: packaged HTTP libraries give each connection a
// thread and restart their timeout at every byte, so a few clients that send a byte per second shut out
// everybody else, and enough of them take all file descriptors of the process. Here a connection costs one
// descriptor, lives for a bounded time, and the number of connections is bounded; when all are taken, the
// oldest that had its second makes room.

#pragma once

#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/ops/http_message.h"
#include "server/support/clock.h"

namespace embedd {

class HttpServer {
 public:
  struct Options {
    std::string address;  // HOST:PORT; port 0 takes a free one
    HttpRoutes routes;
    size_t max_connections = 32;
    absl::Duration max_time = absl::Seconds(10);  // from accept to the last byte
    absl::Duration min_time = absl::Seconds(1);   // nobody has to make room earlier
    Clock* clock = Clock::Real();
  };

  // Binds and starts. AlreadyExists: the address is in use; other errors as OpenListenSocket.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options);
  // Closes every connection and ends the thread. A route that runs is waited for.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }

 private:
  struct Connection;

  HttpServer(Options options, int listen_fd, int port, int wake_read, int wake_write);
  void Run();
  // Milliseconds until the first connection runs out of time; -1 for none.
  int PollTimeout() const;
  void AcceptAll();
  // Drops one connection, so that another can come. False: all are too young.
  bool MakeRoom();
  void CloseExpired();
  // One step of a connection that poll() found ready. False: it is done.
  bool Step(Connection* connection);

  const Options options_;
  const int listen_fd_, port_, wake_read_, wake_write_;
  std::list<std::unique_ptr<Connection>> connections_;  // oldest first; only touched by the thread
  bool paused_ = false;  // full, or out of descriptors: wait a moment before the next accept
  std::thread thread_;   // last: it uses the others
};

}  // namespace embedd
