// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/support/process.h"

namespace embedd {
namespace {

// Read or written of one connection before the others have their turn.
constexpr size_t kTurn = size_t{1} << 20;

}  // namespace

// Holds the pipe that wakes the network thread; a call may outlive the server.
struct HttpServer::Outbox {
  Outbox(int read, int write) : wake_read(read), wake_write(write) {}
  ~Outbox() {
    close(wake_read);
    close(wake_write);
  }

  void Put(uint64_t connection, HttpResponse response) {
    {
      MutexLock lock(&mu);
      if (closed) return;
      answers.emplace_back(connection, std::move(response));
    }
    Wake();
  }
  void Wake() const { [[maybe_unused]] const ssize_t written = write(wake_write, "x", 1); }

  const int wake_read, wake_write;
  std::atomic<bool> stop{false};
  Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  std::vector<std::pair<uint64_t, HttpResponse>> answers ABSL_GUARDED_BY(mu);
};

struct HttpServer::Connection {
  enum class Phase {
    kHead,     // the head is not whole yet, or nothing has come
    kBody,     // the body is not whole yet
    kWaiting,  // the handler has it
    kWriting,
    kClosing,  // all is sent; what the client still sends is read, or closing would destroy what it has not
               // read yet
  };

  Connection(int fd, SSL_CTX* tls, uint64_t number, absl::Time accepted)
      : socket(fd, tls), number(number), active(accepted) {}

  HttpSocket socket;
  const uint64_t number;
  Phase phase = Phase::kHead;
  absl::Time active;  // when it was last not silent; see Step
  absl::Time until;   // when the time of the phase is over
  std::string in;     // not looked at yet
  HttpHead head;
  std::string body;
  std::shared_ptr<void> place;
  std::shared_ptr<HttpCall> call;  // while it waits
  std::string out;
  std::shared_ptr<void> hold;  // of the answer
  size_t sent = 0;
  size_t length = 0;                         // of the body
  bool keep_alive = true, with_body = true;  // of the answer
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options) {
  TlsContext tls;
  if (!options.tls_cert.empty()) {
    absl::StatusOr<TlsContext> made =
        MakeTlsContext(options.tls_cert, options.tls_key, options.tls_client_ca);
    if (!made.ok()) return made.status();
    tls = *std::move(made);
  }
  const absl::StatusOr<ListenSocket> on = OpenListenSocket(options.address);
  if (!on.ok()) return on.status();
  int wake[2];
  if (pipe(wake) != 0) {
    close(on->fd);
    return absl::ResourceExhaustedError("cannot open a pipe: too many open files");
  }
  PrepareSocket(wake[0]);
  PrepareSocket(wake[1]);
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::move(options), std::move(tls), *on, std::make_shared<Outbox>(wake[0], wake[1])));
}

HttpServer::HttpServer(Options options, TlsContext tls, ListenSocket on, std::shared_ptr<Outbox> outbox)
    : options_(std::move(options)),
      tls_(std::move(tls)),
      listen_fd_(on.fd),
      port_(on.port),
      outbox_(std::move(outbox)),
      work_(std::make_shared<WorkThreads>(options_.work_threads, absl::StrCat(options_.name, "-work"))),
      thread_([this] { Run(); }) {}

HttpServer::~HttpServer() {
  outbox_->stop = true;
  outbox_->Wake();
  thread_.join();
  for (const auto& connection : connections_) {
    if (connection->call != nullptr) connection->call->Gone();
  }
  connections_.clear();
  work_->Stop();
  std::vector<std::pair<uint64_t, HttpResponse>> dropped;
  {
    MutexLock lock(&outbox_->mu);
    outbox_->closed = true;
    dropped.swap(outbox_->answers);
  }
  close(listen_fd_);
}

void HttpServer::Run() {
  SetThreadName(options_.name.c_str());
  using Phase = Connection::Phase;
  std::vector<pollfd> fds;
  while (!outbox_->stop) {
    fds.clear();
    fds.push_back({outbox_->wake_read, POLLIN, 0});
    fds.push_back({paused_ ? -1 : listen_fd_, POLLIN, 0});  // poll skips -1
    for (const auto& connection : connections_) {
      const HttpSocket& socket = connection->socket;
      int events = connection->phase == Phase::kWriting ? POLLOUT : POLLIN;
      if (connection->phase == Phase::kWriting && socket.wants_read()) events = POLLIN;
      if (connection->phase != Phase::kWriting && socket.wants_write()) events |= POLLOUT;
      // A request ahead of its time: read on when the one before is answered.
      if (connection->phase == Phase::kWaiting && connection->in.size() > kMaxHead) events = 0;
      fds.push_back({socket.fd(), static_cast<short>(events), 0});  // NOLINT(google-runtime-int)
    }
    if (poll(fds.data(), static_cast<nfds_t>(fds.size()), paused_ ? 100 : PollTimeout()) < 0) {
      if (errno != EINTR) paused_ = true;  // out of kernel memory: go on, slowly
      continue;
    }
    size_t i = 2;
    for (auto it = connections_.begin(); it != connections_.end(); ++i) {
      if (fds[i].revents != 0 && !Step(it->get())) {
        if ((*it)->call != nullptr) (*it)->call->Gone();
        it = connections_.erase(it);
      } else {
        ++it;
      }
    }
    if (fds[0].revents != 0) {
      char drained[64];
      while (read(outbox_->wake_read, drained, sizeof(drained)) > 0) {
      }
    }
    TakeAnswers();
    CloseExpired();
    paused_ = false;
    if (fds[1].revents != 0) AcceptAll();
  }
}

int HttpServer::PollTimeout() const {
  absl::Time first = absl::InfiniteFuture();
  for (const auto& connection : connections_) first = std::min(first, connection->until);
  if (first == absl::InfiniteFuture()) return -1;
  const int64_t left = absl::ToInt64Milliseconds(first - options_.clock->TimeNow());
  return static_cast<int>(std::clamp<int64_t>(left + 1, 1, 60'000));
}

void HttpServer::AcceptAll() {
  for (;;) {
    if (connections_.size() >= options_.max_connections && !MakeRoom()) {
      paused_ = true;  // the others wait in the backlog of the socket
      return;
    }
    const int fd = accept(listen_fd_, nullptr, nullptr);
    if (fd < 0) {
      paused_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      return;
    }
    PrepareSocket(fd);
    const absl::Time now = options_.clock->TimeNow();
    connections_.push_back(std::make_unique<Connection>(fd, tls_.get(), ++last_number_, now));
    connections_.back()->until = now + options_.head_time;
  }
}

// Whoever has been silent for longest makes room for those who come.
bool HttpServer::MakeRoom() {
  auto silent = connections_.end();
  for (auto it = connections_.begin(); it != connections_.end(); ++it) {
    if ((*it)->phase == Connection::Phase::kWaiting) continue;  // it is our turn, not the client's
    if (silent == connections_.end() || (*it)->active < (*silent)->active) silent = it;
  }
  if (silent == connections_.end() || options_.clock->TimeNow() - (*silent)->active < options_.min_time)
    return false;
  connections_.erase(silent);
  return true;
}

void HttpServer::CloseExpired() {
  const absl::Time now = options_.clock->TimeNow();
  for (auto it = connections_.begin(); it != connections_.end();) {
    it = (*it)->until <= now ? connections_.erase(it) : std::next(it);
  }
}

void HttpServer::TakeAnswers() {
  std::vector<std::pair<uint64_t, HttpResponse>> answers;
  {
    MutexLock lock(&outbox_->mu);
    answers.swap(outbox_->answers);
  }
  for (auto& [number, response] : answers) {
    const auto it = std::find_if(connections_.begin(), connections_.end(),
                                 [number = number](const auto& each) { return each->number == number; });
    if (it == connections_.end()) continue;  // the client has gone
    (*it)->call.reset();
    Respond(it->get(), std::move(response));
    if (!Step(it->get())) connections_.erase(it);
  }
}

bool HttpServer::Step(Connection* connection) {
  using Phase = Connection::Phase;
  // A head is so short that whoever sends it in drops is silent, and so is who has had the last answer.
  const bool begins = connection->phase == Phase::kHead && connection->in.empty();
  if (begins || connection->phase == Phase::kBody || connection->phase == Phase::kWriting)
    connection->active = options_.clock->TimeNow();
  if (connection->phase == Phase::kWriting) return WriteSome(connection);
  return ReadSome(connection);
}

bool HttpServer::ReadSome(Connection* connection) {
  using Phase = Connection::Phase;
  char buffer[65536];
  for (size_t turn = 0; turn < kTurn;) {
    const int got = connection->socket.Read(buffer, sizeof(buffer));
    if (got == HttpSocket::kClosed) return false;
    if (got == HttpSocket::kAgain) break;
    turn += static_cast<size_t>(got);
    if (connection->phase == Phase::kClosing) continue;
    if (connection->phase == Phase::kBody) {
      const size_t missing = connection->length - connection->body.size();
      const size_t taken = std::min(missing, static_cast<size_t>(got));
      connection->body.append(buffer, taken);
      connection->in.append(buffer + taken, static_cast<size_t>(got) - taken);
      if (taken == missing) Dispatch(connection);
      continue;
    }
    connection->in.append(buffer, static_cast<size_t>(got));
    if (connection->phase == Phase::kWaiting) {
      if (connection->in.size() > kMaxHead) return true;
      continue;
    }
    if (!OnHead(connection)) return false;
    if (connection->phase == Phase::kWriting) return WriteSome(connection);
  }
  return true;
}

// `in` has grown while a head is awaited.
bool HttpServer::OnHead(Connection* connection) {
  using Phase = Connection::Phase;
  const HeadState state = ParseHead(connection->in, &connection->head);
  const HttpHead& head = connection->head;
  connection->keep_alive = false;
  connection->with_body = head.method != "HEAD";
  if (state.problem.status != 0) {
    Respond(connection, options_.error(state.problem));
    return true;
  }
  const absl::Time now = options_.clock->TimeNow();
  if (state.size == 0) {
    // A request that has begun has the time of a head, however long the connection may be idle.
    connection->until = std::min(connection->until, now + options_.head_time);
    return true;
  }
  connection->in.erase(0, state.size);
  const bool readable = head.body.status == 0,
             keep_alive = head.keep_alive && options_.idle_time > absl::ZeroDuration();
  std::optional<HttpResponse> early = options_.admit(head, &connection->place);
  if (!early.has_value() && !readable) early = options_.error(head.body);
  if (early.has_value()) {
    // The body that still comes is read and thrown away, so that the client reads this.
    const bool whole = readable && static_cast<int64_t>(connection->in.size()) >= head.content_length;
    if (whole) connection->in.erase(0, static_cast<size_t>(head.content_length));
    connection->place.reset();
    connection->keep_alive = keep_alive && whole;
    Respond(connection, *std::move(early));
    return true;
  }
  connection->keep_alive = keep_alive;
  const size_t length = connection->length = static_cast<size_t>(head.content_length);
  connection->phase = Phase::kBody;
  connection->until = now + TransferTime(length);
  connection->body.reserve(length);
  const size_t taken = std::min(length, connection->in.size());
  connection->body.append(connection->in, 0, taken);
  connection->in.erase(0, taken);
  if (taken == length) {
    Dispatch(connection);
  } else if (head.expect_continue) {
    constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
    // Into an empty buffer of the kernel: it fits.
    if (connection->socket.Write(kContinue, sizeof(kContinue) - 1) == HttpSocket::kClosed) return false;
  }
  return true;
}

void HttpServer::Dispatch(Connection* connection) {
  connection->phase = Connection::Phase::kWaiting;
  connection->until = absl::InfiniteFuture();  // the call has a deadline, or a client that waits
  const auto call = std::make_shared<HttpCall>(
      std::move(connection->head), std::exchange(connection->body, std::string()),
      std::exchange(connection->place, nullptr), uint64_t{1} << 63 | connection->number,
      HttpCall::Ways{.answer = [outbox = outbox_, number = connection->number](
                                   HttpResponse response) { outbox->Put(number, std::move(response)); },
                     .run =
                         [work = std::weak_ptr<WorkThreads>(work_)](std::function<void()> job) {
                           if (const auto threads = work.lock()) threads->Run(std::move(job));
                         }});
  connection->call = call;
  work_->Run([this, call] { options_.handle(call); });
}

void HttpServer::Respond(Connection* connection, HttpResponse response) {
  connection->hold = std::move(response.hold);
  connection->out = WriteResponse(response, connection->keep_alive, connection->with_body);
  connection->sent = 0;
  connection->phase = Connection::Phase::kWriting;
  connection->active = options_.clock->TimeNow();
  connection->until = connection->active + TransferTime(connection->out.size());
}

bool HttpServer::WriteSome(Connection* connection) {
  using Phase = Connection::Phase;
  for (size_t turn = 0; connection->sent < connection->out.size();) {
    const int sent = connection->socket.Write(connection->out.data() + connection->sent,
                                              connection->out.size() - connection->sent);
    if (sent == HttpSocket::kClosed) return false;
    if (sent == HttpSocket::kAgain || (turn += static_cast<size_t>(sent)) > kTurn) {
      if (sent > 0) connection->sent += static_cast<size_t>(sent);
      return true;
    }
    connection->sent += static_cast<size_t>(sent);
  }
  connection->out = std::string();
  connection->hold.reset();
  const absl::Time now = options_.clock->TimeNow();
  if (!connection->keep_alive) {
    connection->socket.Shut();
    connection->phase = Phase::kClosing;
    connection->until = now + options_.transfer_time;
    return true;
  }
  connection->phase = Phase::kHead;
  connection->until = now + options_.idle_time;
  // The next request may be here already.
  if (!connection->in.empty()) {
    return OnHead(connection);
  }
  return true;
}

absl::Duration HttpServer::TransferTime(size_t bytes) const {
  return options_.transfer_time +
         absl::Seconds(static_cast<double>(bytes) / static_cast<double>(options_.least_rate));
}

}  // namespace embedd
