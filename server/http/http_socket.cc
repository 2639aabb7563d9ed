// SPDX-License-Identifier: Apache-2.0

#include "server/http/http_socket.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "absl/strings/str_cat.h"

#if !defined(MSG_NOSIGNAL)
#define MSG_NOSIGNAL 0  // macOS; BlockSignals ignores SIGPIPE
#endif

namespace embedd {

absl::StatusOr<TlsContext> MakeTlsContext(const std::string& cert, const std::string& key,
                                          const std::string& client_ca) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  const auto wrong = [](const std::string& what) {
    ERR_clear_error();
    return absl::InvalidArgumentError(what);
  };
  if (context == nullptr) return wrong("TLS cannot be set up");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert.c_str()) != 1)
    return wrong(absl::StrCat("--tls-cert ", cert, " cannot be read as a PEM file"));
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return wrong(absl::StrCat("--tls-cert ", cert, " and --tls-key ", key,
                              " cannot be used: do they belong together?"));
  }
  if (!client_ca.empty()) {
    if (SSL_CTX_load_verify_locations(context.get(), client_ca.c_str(), nullptr) != 1)
      return wrong(absl::StrCat("--tls-client-ca ", client_ca, " cannot be read as a PEM file"));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    const unsigned char name[] = "embedd";  // sessions of a verified client are resumed in this server only
    SSL_CTX_set_session_id_context(context.get(), name, sizeof(name) - 1);
  }
  return context;
}

HttpSocket::HttpSocket(int fd, SSL_CTX* tls) : fd_(fd), tls_(tls != nullptr) {
  if (tls != nullptr) ssl_.reset(SSL_new(tls));
  if (ssl_ == nullptr) return;
  SSL_set_fd(ssl_.get(), fd);
  SSL_set_accept_state(ssl_.get());
}

HttpSocket::~HttpSocket() {
  ssl_.reset();
  close(fd_);
}

int HttpSocket::Read(char* to, size_t size) {
  wants_write_ = false;
  if (tls_) {
    if (ssl_ == nullptr) return kClosed;
    ERR_clear_error();
    return Outcome(SSL_read(ssl_.get(), to, static_cast<int>(std::min<size_t>(size, INT_MAX))));
  }
  const ssize_t got = recv(fd_, to, size, 0);
  if (got > 0) return static_cast<int>(got);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? kAgain : kClosed;
}

int HttpSocket::Write(const char* from, size_t size) {
  wants_read_ = false;
  if (tls_) {
    if (ssl_ == nullptr) return kClosed;
    ERR_clear_error();
    return Outcome(SSL_write(ssl_.get(), from, static_cast<int>(std::min<size_t>(size, INT_MAX))));
  }
  const ssize_t sent = send(fd_, from, std::min<size_t>(size, INT_MAX), MSG_NOSIGNAL);
  if (sent > 0) return static_cast<int>(sent);
  return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? kAgain : kClosed;
}

int HttpSocket::Outcome(int result) {
  if (result > 0) return result;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      wants_read_ = true;
      return kAgain;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return kAgain;
    default:
      ERR_clear_error();
      return kClosed;
  }
}

void HttpSocket::Shut() {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  shutdown(fd_, SHUT_WR);
}

}  // namespace embedd
