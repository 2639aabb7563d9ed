// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/tiff_size.h"

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("TIFF: ", what));
}

class Numbers {
 public:
  Numbers(absl::string_view s, bool big) : s_(s), big_(big) {}
  uint64_t U16(size_t at) const { return big_ ? Big16(s_, at) : Little16(s_, at); }
  uint64_t U32(size_t at) const { return big_ ? Big32(s_, at) : Little32(s_, at); }
  uint64_t U64(size_t at) const { return big_ ? Big64(s_, at) : Little64(s_, at); }

 private:
  const absl::string_view s_;
  const bool big_;
};

}  // namespace

absl::StatusOr<TiffSize> ReadTiffSize(absl::string_view file) {
  constexpr absl::string_view kCut = "the file ends inside its first directory";
  const bool big_endian = file[0] == 'M';
  const Numbers read(file, big_endian);
  const bool big_tiff = read.U16(2) == 43;
  if (file.size() < (big_tiff ? 16u : 8u)) return Corrupt(kCut);
  const uint64_t at = big_tiff ? read.U64(8) : read.U32(4);
  const size_t count_bytes = big_tiff ? 8 : 2;
  if (at > file.size() || file.size() - at < count_bytes) return Corrupt(kCut);
  const uint64_t count = big_tiff ? read.U64(at) : read.U16(at);
  const size_t entry = big_tiff ? 20 : 12;
  if (count > (file.size() - at - count_bytes) / entry) return Corrupt(kCut);

  TiffSize size;
  for (uint64_t i = 0; i < count; ++i) {
    const size_t e = static_cast<size_t>(at + count_bytes + i * entry);
    const uint64_t tag = read.U16(e);
    if (tag != 256 && tag != 257 && tag != 274) continue;
    const size_t value = e + (big_tiff ? 12 : 8);
    uint64_t number = 0;
    switch (read.U16(e + 2)) {
      case 1:
      case 6:  // from here on signed ones, whose sides below 0 are longer than any picture's, too
        number = Byte(file, value);
        break;
      case 3:
      case 8:
        number = read.U16(value);
        break;
      case 4:
      case 9:
        number = read.U32(value);
        break;
      case 16:
      case 17:
        number = big_tiff ? read.U64(value) : 0;
        break;
      default:
        break;
    }
    if (tag == 274) {
      const bool one = (big_tiff ? read.U64(e + 4) : read.U32(e + 4)) == 1;
      size.orientation = one && number >= 1 && number <= 8 ? static_cast<int>(number) : 1;
    } else if (number > 0x7FFFFFFF) {
      return Corrupt("a side longer than any picture's");
    } else {
      (tag == 256 ? size.width : size.height) = static_cast<int64_t>(number);
    }
  }
  return size;
}

}  // namespace embedd
