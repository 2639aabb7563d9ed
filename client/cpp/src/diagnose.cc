// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/diagnose.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace embedd::client::internal {
namespace {

constexpr int kTimeoutMs = 500;
constexpr int kMaxAddresses = 4;

// A TLS 1.2 greeting with the two commonest ciphers, curve P-256 and X25519, and h2: every TLS server answers
// it with a record of its own, a greeting or an alert.
constexpr unsigned char kClientHello[] = {
    0x16, 0x03, 0x01, 0x00, 0x64, 0x01, 0x00, 0x00, 0x60, 0x03, 0x03,  // record, handshake
    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15, 16,  // random
    17,   18,   19,   20,   21,   22,   23,   24,   25,   26,   27,   28,   29,   30,   31, 32,
    0x00,                                                                                // no session
    0x00, 0x0a, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0xff,              // ciphers
    0x01, 0x00,                                                                          // no compression
    0x00, 0x2d,                                                                          // extensions
    0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17,                          // groups
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00,                                                  // point format
    0x00, 0x0d, 0x00, 0x10, 0x00, 0x0e, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03,  // signatures
    0x08, 0x05, 0x05, 0x01, 0x08, 0x06, 0x00, 0x10, 0x00, 0x05, 0x00, 0x03, 0x02, 'h',  '2'};  // ALPN

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;  // a server that closed first must not end this process
#else
constexpr int kSendFlags = 0;
#endif

bool Wait(int socket, short events) {
  pollfd one{.fd = socket, .events = events, .revents = 0};
  return poll(&one, 1, kTimeoutMs) == 1;
}

bool Connect(int socket, const addrinfo& to) {
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  if (connect(socket, to.ai_addr, to.ai_addrlen) == 0) return true;
  if (errno != EINPROGRESS || !Wait(socket, POLLOUT)) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

enum class Speaks { kNothing, kTls, kPlain };

// HTTP/2 in plain text begins with a SETTINGS frame, whose first byte is 0, TLS with a record of type 21
// or 22.
Speaks Greet(int socket) {
  if (send(socket, kClientHello, sizeof kClientHello, kSendFlags) !=
      static_cast<ssize_t>(sizeof kClientHello)) {
    return Speaks::kNothing;
  }
  unsigned char first = 0;
  if (!Wait(socket, POLLIN) || recv(socket, &first, 1, 0) != 1) return Speaks::kNothing;
  return first == 21 || first == 22 ? Speaks::kTls : first == 0 ? Speaks::kPlain : Speaks::kNothing;
}

std::string Address(const addrinfo& at) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getnameinfo(at.ai_addr, at.ai_addrlen, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "the server";
  }
  return at.ai_family == AF_INET6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

}  // namespace

std::string DiagnoseTls(const Target& target, bool tls) {
  if (target.host.empty() || target.port == 0) return "";
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found) != 0) return "";
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  int asked = 0;
  for (const addrinfo* one = found; one != nullptr && asked < kMaxAddresses; one = one->ai_next, ++asked) {
    const int socket = ::socket(one->ai_family, SOCK_STREAM, 0);
    if (socket < 0) continue;
#ifdef SO_NOSIGPIPE
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    const Speaks speaks = Connect(socket, *one) ? Greet(socket) : Speaks::kNothing;
    close(socket);
    if (speaks == Speaks::kTls && !tls) {
      return Address(*one) + " speaks TLS, and this client does not. Use TLS, or grpcs:// in the target";
    }
    if (speaks == Speaks::kPlain && tls) {
      return Address(*one) +
             " speaks no TLS, and this client does. Leave TLS out, or write grpc:// in the target";
    }
    if (speaks == Speaks::kTls) {
      return Address(*one) +
             " speaks TLS, and the two do not agree: is its certificate signed by the authority that was "
             "given, is it "
             "for this host name, and does it want a certificate of this client?";
    }
  }
  return "";
}

}  // namespace embedd::client::internal
