// SPDX-License-Identifier: Apache-2.0

#include "server/support/process.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The footprint grows by what the process touches") {
  const int64_t before = ProcessFootprintBytes();
  REQUIRE(before > 0);
  constexpr size_t kBytes = size_t{64} << 20;
  std::vector<char> touched(kBytes, 1);
  const int64_t during = ProcessFootprintBytes();
  CHECK(during - before > static_cast<int64_t>(kBytes) / 2);
  CHECK(touched[kBytes - 1] == 1);
}

// The sanitizers bring a heap of their own.
#if defined(__GLIBC__) && !defined(ABSL_HAVE_ADDRESS_SANITIZER) && !defined(ABSL_HAVE_THREAD_SANITIZER)
TEST_CASE("Freed buffers stay with the process until it returns them") {
  KeepFreedMemory();
  constexpr size_t kBytes = size_t{24} << 20;
  {
    const std::vector<char> touched(kBytes, 1);
    CHECK(touched[kBytes - 1] == 1);  // or clang leaves it out
  }
  const int64_t kept = ProcessFootprintBytes();
  ReturnFreeMemory();
  CHECK(kept - ProcessFootprintBytes() > static_cast<int64_t>(kBytes) / 2);
}
#endif

TEST_CASE("The machine has more memory than this process") {
  CHECK(MachineMemoryBytes() > ProcessFootprintBytes());
}

TEST_CASE("A thread's processor time rises while it works, and not while it waits") {
  std::atomic<bool> work{true}, end{false};
  std::thread thread([&] {
    while (work) continue;
    while (!end) end.wait(false);
  });
  const absl::Duration before = ThreadCpuTime(thread.native_handle());
  while (ThreadCpuTime(thread.native_handle()) < before + absl::Milliseconds(1)) std::this_thread::yield();
  work = false;
  // It works for a moment more, then no longer: two looks that agree, whatever this thread spends between.
  absl::Duration last;
  do {
    last = ThreadCpuTime(thread.native_handle());
    const absl::Duration own = ThreadCpuTime(pthread_self());
    while (ThreadCpuTime(pthread_self()) < own + absl::Milliseconds(1)) continue;
  } while (ThreadCpuTime(thread.native_handle()) != last);
  CHECK(ThreadCpuTime(thread.native_handle()) == last);
  end = true;
  end.notify_one();
  thread.join();
}

TEST_CASE("A thread can be named, and a long name is cut") {
  std::thread([] {
    char name[64] = "";
    SetThreadName("embed-watchdog");
    pthread_getname_np(pthread_self(), name, sizeof(name));
    CHECK(std::string(name) == "embed-watchdog");
    SetThreadName("embed-a-name-longer-than-fifteen");
    pthread_getname_np(pthread_self(), name, sizeof(name));
    CHECK(std::string(name).rfind("embed-a-name-lo", 0) == 0);
  }).join();
}

// In a child, because the guard stays for the life of a process.
TEST_CASE("After InstallForkGuard a forked child ends at once and says why") {
  int pipe_fds[2];
  REQUIRE(pipe(pipe_fds) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    InstallForkGuard();
    InstallForkGuard();
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(0);  // not reached
    int status = 0;
    waitpid(grandchild, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
  }
  close(pipe_fds[1]);
  std::string message;
  char buffer[256];
  for (ssize_t n; (n = read(pipe_fds[0], buffer, sizeof(buffer))) > 0;)
    message.append(buffer, static_cast<size_t>(n));
  close(pipe_fds[0]);
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 134);
  CHECK(message.find("fork() after the model was loaded") != std::string::npos);
}

}  // namespace
}  // namespace embedd
