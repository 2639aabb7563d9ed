// SPDX-License-Identifier: Apache-2.0

#include "server/support/process.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#if defined(__APPLE__)
#include <mach/mach.h>
#include <malloc/malloc.h>
#include <sys/sysctl.h>
#elif defined(__GLIBC__)
#include <malloc.h>
#endif

namespace embedd {
namespace {

// Runs in the child, where only async-signal-safe calls are allowed.
void EndChild() {
  static constexpr char kMessage[] =
      "embedd: fork() after the model was loaded; the child ends here, a GPU context does not survive a "
      "fork\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  _exit(134);
}

#if !defined(__APPLE__)
// The value of "Pss:  1234 kB" in bytes, or 0.
int64_t ProportionalSetSize() {
  std::FILE* const file = std::fopen("/proc/self/smaps_rollup", "re");
  if (file == nullptr) return 0;
  char line[256];
  int64_t kilobytes = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    long long value = 0;  // NOLINT(google-runtime-int): what %lld reads
    if (std::sscanf(line, "Pss: %lld kB", &value) == 1) {
      kilobytes = value;
      break;
    }
  }
  std::fclose(file);
  return kilobytes * 1024;
}

int64_t ResidentSetSize() {
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  long long total = 0, resident = 0;  // NOLINT(google-runtime-int)
  const int read = std::fscanf(file, "%lld %lld", &total, &resident);
  std::fclose(file);
  return read == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}
#endif

int64_t ReadFootprint() {
#if defined(__APPLE__)
  task_vm_info_data_t info;
  mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
  const kern_return_t result =
      task_info(mach_task_self(), TASK_VM_INFO, reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? static_cast<int64_t>(info.phys_footprint) : 0;
#else
  const int64_t pss = ProportionalSetSize();
  return pss > 0 ? pss : ResidentSetSize();
#endif
}

std::atomic<int64_t> last_footprint{0};

}  // namespace

int64_t ProcessFootprintBytes() {
  const int64_t bytes = ReadFootprint();
  last_footprint.store(bytes, std::memory_order_relaxed);
  return bytes;
}

int64_t LastProcessFootprintBytes() {
  const int64_t last = last_footprint.load(std::memory_order_relaxed);
  return last > 0 ? last : ProcessFootprintBytes();
}

void ReturnFreeMemory() {
#if defined(__APPLE__)
  malloc_zone_pressure_relief(nullptr, 0);
#elif defined(__GLIBC__)
  malloc_trim(0);
#endif
}

int64_t MachineMemoryBytes() {
#if defined(__APPLE__)
  int64_t bytes = 0;
  size_t size = sizeof(bytes);
  return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
#else
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? pages * sysconf(_SC_PAGESIZE) : 0;
#endif
}

absl::Duration ThreadCpuTime(pthread_t thread) {
#if defined(__APPLE__)
  thread_basic_info_data_t info;
  mach_msg_type_number_t count = THREAD_BASIC_INFO_COUNT;
  if (thread_info(pthread_mach_thread_np(thread), THREAD_BASIC_INFO, reinterpret_cast<thread_info_t>(&info),
                  &count) != KERN_SUCCESS) {
    return absl::ZeroDuration();
  }
  return absl::Seconds(info.user_time.seconds + info.system_time.seconds) +
         absl::Microseconds(info.user_time.microseconds + info.system_time.microseconds);
#else
  clockid_t clock;
  timespec time{};
  if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return absl::ZeroDuration();
  }
  return absl::DurationFromTimespec(time);
#endif
}

void SetThreadName(const char* name) {
#if defined(__APPLE__)
  pthread_setname_np(name);
#else
  char shortened[16];  // Linux refuses longer names instead of cutting them
  std::snprintf(shortened, sizeof(shortened), "%s", name);
  pthread_setname_np(pthread_self(), shortened);
#endif
}

void InstallForkGuard() {
  static std::atomic<bool> installed{false};
  if (!installed.exchange(true)) pthread_atfork(nullptr, nullptr, EndChild);
}

void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace embedd
