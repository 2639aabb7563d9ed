// SPDX-License-Identifier: Apache-2.0

#include "server/ops/http_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/ops/listen_socket.h"
#include "server/support/process.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0  // macOS; BlockSignals ignores SIGPIPE
#endif

namespace embedd {

struct HttpServer::Connection {
  enum class Phase {
    kReading,  // the head is not whole yet
    kWriting,
    kClosing,  // all is sent; what the client still sends is read, or closing would destroy what it has not
               // read yet
  };

  Connection(int fd_in, absl::Time accepted_in) : fd(fd_in), accepted(accepted_in) {}
  ~Connection() { close(fd); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const int fd;
  const absl::Time accepted;
  Phase phase = Phase::kReading;
  std::string in;
  std::string out;
  size_t sent = 0;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  const absl::StatusOr<HttpListener> on = OpenHttpListener(options.address);
  if (!on.ok()) return on.status();
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::move(options), on->socket.fd, on->socket.port, on->wake_read, on->wake_write));
}

HttpServer::HttpServer(Options options, int listen_fd, int port, int wake_read, int wake_write)
    : options_(std::move(options)),
      listen_fd_(listen_fd),
      port_(port),
      wake_read_(wake_read),
      wake_write_(wake_write),
      thread_([this] { Run(); }) {}

HttpServer::~HttpServer() {
  [[maybe_unused]] const ssize_t written = write(wake_write_, "x", 1);
  thread_.join();
  connections_.clear();
  close(listen_fd_);
  close(wake_read_);
  close(wake_write_);
}

void HttpServer::Run() {
  SetThreadName("http");
  std::vector<pollfd> fds;
  for (;;) {
    fds.clear();
    fds.push_back({wake_read_, POLLIN, 0});
    fds.push_back({paused_ ? -1 : listen_fd_, POLLIN, 0});  // poll skips -1
    for (const auto& connection : connections_) {
      const bool writing = connection->phase == Connection::Phase::kWriting;
      fds.push_back(
          {connection->fd, static_cast<short>(writing ? POLLOUT : POLLIN), 0});  // NOLINT(google-runtime-int)
    }
    if (poll(fds.data(), static_cast<nfds_t>(fds.size()), paused_ ? 100 : PollTimeout()) < 0) {
      if (errno != EINTR) paused_ = true;  // out of kernel memory: go on, slowly
      continue;
    }
    if (fds[0].revents != 0) return;
    size_t i = 2;
    for (auto it = connections_.begin(); it != connections_.end(); ++i) {
      it = fds[i].revents != 0 && !Step(it->get()) ? connections_.erase(it) : std::next(it);
    }
    CloseExpired();
    paused_ = false;
    if (fds[1].revents != 0) AcceptAll();
  }
}

int HttpServer::PollTimeout() const {
  if (connections_.empty()) return -1;
  const absl::Duration left = connections_.front()->accepted + options_.max_time - options_.clock->TimeNow();
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(left) + 1, 1, 60'000));
}

void HttpServer::AcceptAll() {
  bool full = false;
  while (!full) {
    full = connections_.size() >= options_.max_connections;
    if (full && !MakeRoom()) {
      paused_ = true;  // the others wait in the backlog of the socket
      return;
    }
    const int fd = accept(listen_fd_, nullptr, nullptr);
    if (fd < 0) {
      paused_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      return;
    }
    PrepareSocket(fd);
    connections_.push_back(std::make_unique<Connection>(fd, options_.clock->TimeNow()));
  }
}

bool HttpServer::MakeRoom() {
  const absl::Time now = options_.clock->TimeNow();
  if (now - connections_.front()->accepted < options_.min_time) return false;
  connections_.pop_front();
  return true;
}

void HttpServer::CloseExpired() {
  const absl::Time now = options_.clock->TimeNow();
  while (!connections_.empty() && now - connections_.front()->accepted >= options_.max_time)
    connections_.pop_front();
}

bool HttpServer::Step(Connection* connection) {
  if (connection->phase != Connection::Phase::kWriting) {
    char buffer[2048];
    const ssize_t got = recv(connection->fd, buffer, sizeof(buffer), 0);
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (got == 0) return false;
    if (connection->phase == Connection::Phase::kClosing) return true;
    connection->in.append(buffer, static_cast<size_t>(got));
    if (connection->in.size() > kMaxRequestHead) {
      connection->out = ErrorAnswer(431);
    } else if (HasWholeHead(connection->in)) {
      connection->out = Answer(connection->in, options_.routes);
    } else {
      return true;
    }
    connection->in = std::string();
    connection->phase = Connection::Phase::kWriting;
  }
  while (connection->sent < connection->out.size()) {
    const ssize_t sent = send(connection->fd, connection->out.data() + connection->sent,
                              connection->out.size() - connection->sent, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    connection->sent += static_cast<size_t>(sent);
  }
  shutdown(connection->fd, SHUT_WR);
  connection->phase = Connection::Phase::kClosing;
  return true;
}

}  // namespace embedd
