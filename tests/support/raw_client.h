// SPDX-License-Identifier: Apache-2.0
//
// A client of an HTTP server that does as it likes: it can stop at any byte, and read or not.

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/support/catch.h"

namespace embedd {

class RawClient {
 public:
  explicit RawClient(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    timeval limit = {60, 0};  // a test that fails does not hang
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
  }
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void Send(const std::string& bytes) const {
    REQUIRE(send(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  // Until `end` has come, or the connection is closed.
  std::string ReadUntil(const std::string& end) const {
    std::string all;
    char byte = 0;
    while (all.find(end) == std::string::npos && recv(fd_, &byte, 1, 0) == 1) all += byte;
    return all;
  }
  // Everything until the connection is closed.
  std::string ReadAll() {
    std::string all;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = recv(fd_, buffer, sizeof(buffer), 0)) > 0) all.append(buffer, static_cast<size_t>(n));
    closed_ = n == 0 || errno == ECONNRESET;  // reset: it had not read all that was sent
    return all;
  }
  bool closed() const { return closed_; }  // by the server, and not by the time limit

 private:
  int fd_;
  bool closed_ = false;
};

}  // namespace embedd
