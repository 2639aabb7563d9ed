// SPDX-License-Identifier: Apache-2.0
//
// Each test runs in a child of its own: signals are for whole processes.

#include "server/support/signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "tests/support/catch.h"

namespace embedd {
namespace {

// A child that runs `body` with the write end of a pipe; its result is the exit code.
class Child {
 public:
  explicit Child(const std::function<int(int fd)>& body) {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      close(fds[0]);
      alarm(60);  // a test that fails leaves nothing running
      _exit(body(fds[1]));
    }
    close(fds[1]);
    fd_ = fds[0];
  }
  ~Child() { close(fd_); }

  // The next byte the child wrote, or -1 when it has ended.
  int Read() {
    char byte = 0;
    return read(fd_, &byte, 1) == 1 ? byte : -1;
  }
  void Signal(int number) { kill(pid_, number); }
  int ExitCode() {
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
};

void Tell(int fd, char byte) { [[maybe_unused]] const ssize_t n = write(fd, &byte, 1); }

// Waits like main does, until the child is ended from elsewhere.
void WaitForever() {
  int never[2];
  char byte = 0;
  if (pipe(never) == 0) [[maybe_unused]]
    const ssize_t n = read(never[0], &byte, 1);
}

int WaitForSignals(int fd) {
  BlockSignals();
  SignalWaiter waiter([fd](int signal) { Tell(fd, static_cast<char>(signal)); });
  Tell(fd, 'r');
  WaitForever();
  return 1;
}

TEST_CASE("The first signal is a call, the second ends the process with 130") {
  Child child(WaitForSignals);
  REQUIRE(child.Read() == 'r');
  child.Signal(SIGTERM);
  CHECK(child.Read() == SIGTERM);
  child.Signal(SIGINT);
  CHECK(child.Read() == -1);
  CHECK(child.ExitCode() == 130);
}

TEST_CASE("A signal that comes before the waiter is not lost") {
  Child child([](int fd) {
    BlockSignals();
    raise(SIGINT);
    kill(getpid(), SIGINT);
    Tell(fd, 'r');
    SignalWaiter waiter([fd](int signal) { Tell(fd, static_cast<char>(signal)); });
    WaitForever();
    return 1;
  });
  REQUIRE(child.Read() == 'r');
  // raise() is for the thread that called it; the one for the process arrives.
  CHECK(child.Read() == SIGINT);
  child.Signal(SIGTERM);
  CHECK(child.ExitCode() == 130);
}

TEST_CASE("The waiter ends without a signal, and without calling back") {
  Child child([](int fd) {
    BlockSignals();
    {
      SignalWaiter waiter([fd](int) { Tell(fd, 'x'); });
    }
    return 7;
  });
  CHECK(child.Read() == -1);
  CHECK(child.ExitCode() == 7);
}

TEST_CASE("Writing to a peer that went away is an error, not the end of the process") {
  Child child([](int) {
    BlockSignals();
    int fds[2];
    if (pipe(fds) != 0) return 1;
    close(fds[0]);
    return write(fds[1], "x", 1) == -1 ? 7 : 1;
  });
  CHECK(child.ExitCode() == 7);
}

}  // namespace
}  // namespace embedd
