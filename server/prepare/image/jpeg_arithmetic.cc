// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_arithmetic.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/jpeg_session.h"

namespace embedd {
namespace {

// A few times what a decoder holds of bytes that it has not used yet.
constexpr size_t kPadding = 16;
// Blocks in a row that may depend on what follows the data: those of the coder's last three bytes.
constexpr int kMostOpenBlocks = 12;

bool IsRestart(uint32_t marker) { return marker >= 0xD0 && marker <= 0xD7; }

// `file` with `padding` in front of each marker that ends coded data; no more than the file again, since
// hostile ones hold nothing but markers.
std::string Padded(absl::string_view file, absl::string_view padding) {
  std::string out;
  bool coded = false;
  size_t from = 0, at = 2;
  while (at + 1 < file.size()) {
    if (Byte(file, at) != 0xFF || Byte(file, at + 1) == 0 || Byte(file, at + 1) == 0xFF) {
      ++at;
      continue;
    }
    const uint32_t marker = Byte(file, at + 1);
    if (coded && out.size() < 2 * file.size()) {
      size_t end = at;  // before any bytes that fill up to the marker
      while (end > from && Byte(file, end - 1) == 0xFF) --end;
      out.append(file.data() + from, end - from);
      out.append(padding.data(), padding.size());
      from = end;
    }
    constexpr uint32_t kScan = 0xDA;
    coded = marker == kScan || IsRestart(marker);
    at += 2;
    if (!IsRestart(marker) && at + 1 < file.size()) at += std::max<uint32_t>(2, Big16(file, at));
  }
  out.append(file.data() + from, file.size() - from);
  if (coded) out.append(padding.data(), padding.size());
  return out;
}

using Block = JCOEF[DCTSIZE2];

// Reads all coefficients into the library's own arrays. Null when the library gave up.
jvirt_barray_ptr* Load(absl::string_view file, const ImageHeader& header, JpegSession* session) {
  if (setjmp(session->failed) != 0) return nullptr;
  jpeg_decompress_struct* info = &session->info;
  session->Begin(file);
  jpeg_read_header(info, TRUE);
  if (info->image_width != header.width || info->image_height != header.height ||
      info->num_components != header.channels) {
    session->Fail("the header contradicts itself about the size");
  }
  jvirt_barray_ptr* arrays = jpeg_read_coefficients(info);
  session->CheckScans();
  return arrays;
}

// A block that repeats the one before it, which costs a coder next to nothing.
bool Flat(const JCOEF* block, const JCOEF* before) {
  for (int k = 1; k < DCTSIZE2; ++k) {
    if (block[k] != 0) return false;
  }
  return before == nullptr || before[0] == block[0];
}

// Blocks of a component that depend on what stands behind the data, counted in a row.
struct OpenBlocks {
  int count = 0;

  // False when there are more in a row than the coder's last bytes can stand for. A flat rest may be any
  // length.
  bool Add(const JBLOCK* zeros, const JBLOCK* other, JDIMENSION blocks) {
    for (JDIMENSION i = 0; i < blocks; ++i) {
      if (std::memcmp(zeros[i], other[i], sizeof(Block)) == 0) {
        count = 0;
      } else if (!Flat(zeros[i], i == 0 ? nullptr : zeros[i - 1]) && ++count > kMostOpenBlocks) {
        return false;
      }
    }
    return true;
  }
};

// False also when the library gives up.
bool EndsAreWhole(JpegSession* zeros, jvirt_barray_ptr* zero_arrays, JpegSession* other,
                  jvirt_barray_ptr* other_arrays) {
  if (setjmp(zeros->failed) != 0 || setjmp(other->failed) != 0) return false;
  const auto row_of = [](JpegSession* session, jvirt_barray_ptr array, JDIMENSION y) {
    auto* info = reinterpret_cast<j_common_ptr>(&session->info);
    return (*info->mem->access_virt_barray)(info, array, y, 1, FALSE)[0];
  };
  for (int c = 0; c < zeros->info.num_components; ++c) {
    const jpeg_component_info& component = zeros->info.comp_info[c];
    OpenBlocks open;
    for (JDIMENSION y = 0; y < component.height_in_blocks; ++y) {
      if (!open.Add(row_of(zeros, zero_arrays[c], y), row_of(other, other_arrays[c], y),
                    component.width_in_blocks)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

absl::Status CheckArithmeticEnds(absl::string_view file, const ImageHeader& header) {
  const absl::Status cut =
      DecodeError(Reason::kCorruptImage, "JPEG: the image data ends before the image does");
  JpegSession zeros, other;
  jvirt_barray_ptr* const zero_arrays = Load(file, header, &zeros);
  if (zero_arrays == nullptr) return zeros.Error();
  const std::string padded = Padded(file, std::string(kPadding, '\x5A'));
  // What the padding means may be nonsense: then it was read as data.
  jvirt_barray_ptr* const other_arrays = Load(padded, header, &other);
  if (other_arrays == nullptr || !EndsAreWhole(&zeros, zero_arrays, &other, other_arrays)) return cut;
  return absl::OkStatus();
}

}  // namespace embedd
