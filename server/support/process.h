// SPDX-License-Identifier: Apache-2.0
//
// What the operating system knows about this process and machine.

#pragma once

#include <pthread.h>

#include <cstdint>

#include "absl/time/time.h"

namespace embedd {

// Bytes of memory that the system charges to this process: phys_footprint on macOS (what its memory limits
// count, GPU memory included), PSS on Linux, or RSS where PSS cannot be read. 0 when unknown. Reads a file:
// not for the road.
int64_t ProcessFootprintBytes();

// What ProcessFootprintBytes said last, to anybody: for pages and calls that are asked often. The kernel
// walks all pages of the process for a fresh number, milliseconds for a large model.
int64_t LastProcessFootprintBytes();

// Gives what the C library's heap keeps of freed memory back to the system: after a burst of large messages
// it kept 350 MiB that nobody used. Takes milliseconds: not for the road.
void ReturnFreeMemory();

// Bytes of memory in the machine; 0 when unknown.
int64_t MachineMemoryBytes();

// Processor time that a thread which still runs has had; zero when unknown.
absl::Duration ThreadCpuTime(pthread_t thread);

// Names the calling thread for debuggers and top. At most 15 characters count on Linux.
void SetThreadName(const char* name);

// From now on every child made by fork() ends at once with a message and exit code 134: a GPU context does
// not survive a fork, and goes on with silently wrong numbers. posix_spawn still works. Call it when the
// model is loaded; later calls do nothing.
void InstallForkGuard();

// Has the heap keep up to 64 MiB of freed memory instead of giving it back at once, and take buffers below 32
// MiB from there. Pixels are such buffers, made by one thread and freed by another: left alone, glibc returns
// them to the system each time, and 37 page faults are two fifths of the cost of a raw image
// (docs/performance.md). All threads share one heap: ReturnFreeMemory does not reach what lies free at the
// end of any other. Does nothing with other C libraries. Call it early in main, before any thread.
void KeepFreedMemory();

}  // namespace embedd
