// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/zlib_stream.h"

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

constexpr absl::string_view kDamaged = "the image data is damaged or cut short";

}  // namespace

ZlibStream::~ZlibStream() {
  if (open_) inflateEnd(&z_);
}

absl::Status ZlibStream::Corrupt(absl::string_view what) const {
  return DecodeError(Reason::kCorruptImage, absl::StrCat(ImageFormatName(format_), ": ", what));
}

absl::Status ZlibStream::Open() {
  uint8_t head[2];
  for (uint8_t& byte : head) {
    if (!NextByte(&byte)) return Corrupt(kDamaged);
  }
  constexpr int kDeflate = 8, kPresetDictionary = 0x20;
  if ((head[0] & 15) != kDeflate || (head[1] & kPresetDictionary) != 0) return Corrupt(kDamaged);
  // The bytes left of a piece stay where they are: inflateInit2 looks at none.
  if (const int made = inflateInit2(&z_, -MAX_WBITS); made != Z_OK)
    return made == Z_MEM_ERROR ? NoHostMemory() : Corrupt(kDamaged);
  open_ = true;
  return absl::OkStatus();
}

size_t ZlibStream::Read(uint8_t* out, size_t size) {
  z_.next_out = out;
  z_.avail_out = static_cast<uInt>(size);
  while (z_.avail_out > 0 && !ended_ && !damaged_) {
    if (z_.avail_in == 0 && !NextPiece()) break;
    switch (inflate(&z_, Z_NO_FLUSH)) {
      case Z_OK:
      case Z_BUF_ERROR:
        break;
      case Z_STREAM_END:
        ended_ = true;
        break;
      case Z_MEM_ERROR:
        no_memory_ = true;
        [[fallthrough]];
      default:
        damaged_ = true;
    }
  }
  const size_t got = size - z_.avail_out;
  adler_ = static_cast<uint32_t>(adler32(adler_, out, static_cast<uInt>(got)));
  return got;
}

absl::Status ZlibStream::Missing() const { return no_memory_ ? NoHostMemory() : Corrupt(kDamaged); }

absl::Status ZlibStream::Check() {
  // Some writers leave bytes behind the last row; the checksum covers them. An attacker's may be endless.
  constexpr int kMostRounds = 64;
  std::vector<uint8_t> rest(size_t{1} << 14);
  for (int i = 0; i < kMostRounds && !ended_ && !damaged_; ++i) {
    if (Read(rest.data(), rest.size()) == 0 && !ended_) break;
  }
  uint32_t wanted = 0;
  int bytes = 0;
  for (uint8_t byte = 0; ended_ && bytes < 4 && NextByte(&byte); ++bytes) wanted = wanted << 8 | byte;
  if (bytes == 4) return wanted == adler_ ? absl::OkStatus() : Corrupt("the checksum of the pixels is wrong");
  for (const ZlibPiece& piece : pieces_) {
    if (piece.checksum_known && !piece.checksum_right) return Corrupt("the checksum of the pixels is wrong");
  }
  return absl::OkStatus();
}

bool ZlibStream::NextPiece() {
  while (next_ < pieces_.size()) {
    const absl::string_view data = pieces_[next_++].data;
    if (data.empty()) continue;
    z_.next_in = const_cast<Bytef*>(Data(data));  // NOLINT(cppcoreguidelines-pro-type-const-cast): only read
    z_.avail_in = static_cast<uInt>(data.size());
    return true;
  }
  return false;
}

bool ZlibStream::NextByte(uint8_t* byte) {
  if (z_.avail_in == 0 && !NextPiece()) return false;
  *byte = *z_.next_in++;
  --z_.avail_in;
  return true;
}

uint32_t Crc32(absl::string_view bytes) {
  return static_cast<uint32_t>(crc32(0, Data(bytes), static_cast<uInt>(bytes.size())));
}

}  // namespace embedd
