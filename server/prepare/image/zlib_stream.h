// SPDX-License-Identifier: Apache-2.0
//
// ZlibStream: the bytes out of a zlib stream, and whether they may be trusted. Used by PngDecoder and
// TiffDecoder.
//
// Inflates without zlib's own header and trailer: a window that the header claims too small is then no error,
// and the checksum is looked at even when the last wanted byte came before it.

#pragma once

#include <zlib.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_format.h"

namespace embedd {

// Of the compressed stream, which may lie in several places.
struct ZlibPiece {
  absl::string_view data;
  bool checksum_known = false;  // of the container, over this piece
  bool checksum_right = false;
};

class ZlibStream {
 public:
  // `pieces` outlive the stream; messages name `format`.
  ZlibStream(const std::vector<ZlibPiece>& pieces, ImageFormat format) : pieces_(pieces), format_(format) {}
  ZlibStream(const ZlibStream&) = delete;
  ZlibStream& operator=(const ZlibStream&) = delete;
  ~ZlibStream();

  // CORRUPT_IMAGE when this is no zlib stream.
  absl::Status Open();
  // Fills `out` as far as the stream goes; the number of bytes, or fewer at its end or at the first damage.
  size_t Read(uint8_t* out, size_t size);
  // The error when Read gave too few.
  absl::Status Missing() const;
  // After the last wanted byte: CORRUPT_IMAGE when a checksum over what was read is wrong. Adler-32 decides
  // where the stream has one, else those of the pieces.
  absl::Status Check();

 private:
  absl::Status Corrupt(absl::string_view what) const;
  bool NextPiece();
  bool NextByte(uint8_t* byte);

  const std::vector<ZlibPiece>& pieces_;
  const ImageFormat format_;
  size_t next_ = 0;
  z_stream z_ = {};
  uint32_t adler_ = 1;
  bool open_ = false, ended_ = false, damaged_ = false, no_memory_ = false;
};

uint32_t Crc32(absl::string_view bytes);

}  // namespace embedd
