// SPDX-License-Identifier: Apache-2.0

#include "server/support/openmp_spinning.h"

#include <unistd.h>

#include <cstddef>
#include <cstdlib>

namespace embedd {

#ifdef __linux__
namespace {

// GNU's library, and LLVM's, which counts in milliseconds.
char gnu_setting[] = "GOMP_SPINCOUNT=2000";
char llvm_setting[] = "KMP_BLOCKTIME=0";

bool StartsWith(const char* text, const char* prefix) {
  while (*prefix != '\0' && *text == *prefix) ++text, ++prefix;
  return *prefix == '\0';
}

bool Contains(char** environment, const char* prefix) {
  for (; *environment != nullptr; ++environment) {
    if (StartsWith(*environment, prefix)) return true;
  }
  return false;
}

}  // namespace

// The C library is there and has not started: no heap, and setenv would be undone.
void LimitSpinningBeforeLibraries(int /*argc*/, char** argv, char** environment) {
  if (Contains(environment, "OMP_WAIT_POLICY=") || Contains(environment, "GOMP_SPINCOUNT=")) return;
  size_t count = 0;
  while (environment[count] != nullptr) ++count;
  char** const extended = static_cast<char**>(__builtin_alloca((count + 3) * sizeof(char*)));
  for (size_t i = 0; i < count; ++i) extended[i] = environment[i];
  extended[count++] = gnu_setting;
  if (!Contains(environment, "KMP_BLOCKTIME=")) extended[count++] = llvm_setting;
  extended[count] = nullptr;
  execve("/proc/self/exe", argv, extended);  // comes back only when it failed; then the threads spin
}

void LimitSpinning(char** argv) { LimitSpinningBeforeLibraries(0, argv, environ); }

#else

void LimitSpinningBeforeLibraries(int, char**, char**) {}

void LimitSpinning(char** /*argv*/) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  setenv("KMP_BLOCKTIME", "0", /*overwrite=*/0);
}

#endif

}  // namespace embedd
