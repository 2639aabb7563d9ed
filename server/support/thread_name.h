// SPDX-License-Identifier: Apache-2.0
//
// Names the calling thread, so that top, gdb and a stack dump show which stage it belongs to.

#pragma once

#include <pthread.h>

namespace embedd {

// At most 15 characters are kept.
inline void SetThreadName(const char* name) {
#ifdef __APPLE__
  pthread_setname_np(name);
#else
  pthread_setname_np(pthread_self(), name);
#endif
}

}  // namespace embedd
