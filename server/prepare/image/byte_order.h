// SPDX-License-Identifier: Apache-2.0
//
// Numbers out of the bytes of a file, in either order. The caller has checked that the bytes are there.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace embedd {

inline uint32_t Byte(absl::string_view s, size_t at) { return static_cast<unsigned char>(s[at]); }
inline uint32_t Big16(absl::string_view s, size_t at) { return Byte(s, at) << 8 | Byte(s, at + 1); }
inline uint32_t Big32(absl::string_view s, size_t at) { return Big16(s, at) << 16 | Big16(s, at + 2); }
inline uint64_t Big64(absl::string_view s, size_t at) {
  return uint64_t{Big32(s, at)} << 32 | Big32(s, at + 4);
}
inline uint32_t Little16(absl::string_view s, size_t at) { return Byte(s, at) | Byte(s, at + 1) << 8; }
inline uint32_t Little24(absl::string_view s, size_t at) { return Little16(s, at) | Byte(s, at + 2) << 16; }
inline uint32_t Little32(absl::string_view s, size_t at) {
  return Little16(s, at) | Little16(s, at + 2) << 16;
}
inline uint64_t Little64(absl::string_view s, size_t at) {
  return Little32(s, at) | uint64_t{Little32(s, at + 4)} << 32;
}

inline const uint8_t* Data(absl::string_view s) { return reinterpret_cast<const uint8_t*>(s.data()); }

}  // namespace embedd
