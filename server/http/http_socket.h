// SPDX-License-Identifier: Apache-2.0
//
// HttpSocket: one connection, plain or with TLS, that never blocks. Owns the descriptor.

#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace embedd {

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, SslContextDeleter>;

// From PEM files; `client_ca` may be empty. InvalidArgument names the flag whose file cannot be used.
absl::StatusOr<TlsContext> MakeTlsContext(const std::string& cert, const std::string& key,
                                          const std::string& client_ca);

class HttpSocket {
 public:
  enum Result : int { kClosed = 0, kAgain = -1 };  // else how many bytes

  // `tls` may be null: plain. `fd` must not block.
  HttpSocket(int fd, SSL_CTX* tls);
  ~HttpSocket();
  HttpSocket(const HttpSocket&) = delete;
  HttpSocket& operator=(const HttpSocket&) = delete;

  int fd() const { return fd_; }
  // kClosed also for any error: nothing more is to be had from this connection. Read with room for a record
  // of TLS, 16 KiB: what is left of one, poll() does not know of.
  int Read(char* to, size_t size);
  int Write(const char* from, size_t size);
  // The last Read or Write needs poll() for the other direction, as a TLS handshake may.
  bool wants_write() const { return wants_write_; }
  bool wants_read() const { return wants_read_; }
  // Says that nothing more will be written.
  void Shut();

 private:
  struct SslDeleter {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  int Outcome(int result);

  const int fd_;
  const bool tls_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
  bool wants_write_ = false, wants_read_ = false;
};

}  // namespace embedd
