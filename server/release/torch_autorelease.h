// SPDX-License-Identifier: Apache-2.0
//
// AutoreleasePool: the scope of one unit of device work on Apple systems. What Metal autoreleases inside a
// thread without a pool is kept until the thread ends, and the device thread never ends. Elsewhere it does
// nothing.

#pragma once

#ifdef __APPLE__
extern "C" void* objc_autoreleasePoolPush(void);
extern "C" void objc_autoreleasePoolPop(void* pool);
#endif

namespace embedd {

class AutoreleasePool {
 public:
  AutoreleasePool(const AutoreleasePool&) = delete;
  AutoreleasePool& operator=(const AutoreleasePool&) = delete;

#ifdef __APPLE__
  AutoreleasePool() : pool_(objc_autoreleasePoolPush()) {}
  ~AutoreleasePool() { objc_autoreleasePoolPop(pool_); }

 private:
  void* const pool_;
#else
  AutoreleasePool() {}
  ~AutoreleasePool() {}
#endif
};

}  // namespace embedd
