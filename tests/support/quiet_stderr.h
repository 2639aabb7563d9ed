// SPDX-License-Identifier: Apache-2.0
//
// QuietStderr: sends the log of thousands of provoked failures nowhere, while it lives. Catch2 reports on
// stdout.

#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace embedd {

class QuietStderr {
 public:
  QuietStderr() : saved_(dup(STDERR_FILENO)) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    close(null);
  }
  ~QuietStderr() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  QuietStderr(const QuietStderr&) = delete;
  QuietStderr& operator=(const QuietStderr&) = delete;

 private:
  const int saved_;
};

}  // namespace embedd
