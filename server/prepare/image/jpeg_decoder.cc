// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_decoder.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/jpeg_arithmetic.h"
#include "server/prepare/image/jpeg_lossless.h"
#include "server/prepare/image/jpeg_session.h"
#include "server/prepare/image/pixel_rules.h"

namespace embedd {
namespace {

constexpr int kRowsAtOnce = 16;

// What Read needs beside the session. Plain pointers: a longjmp may leave Read at any call of the library.
struct Target {
  const ImageHeader* header;
  const JpegOptions* options;
  RowTarget* rows;
  uint8_t* inks;  // CMYK: kRowsAtOnce rows
};

// Reads up to `count` rows to `out`, as many as the library gives at once.
JDIMENSION ReadSome(jpeg_decompress_struct* info, JDIMENSION count, int64_t stride, uint8_t* inks,
                    uint8_t* out) {
  JSAMPROW rows[kRowsAtOnce];
  count = std::min<JDIMENSION>(count, kRowsAtOnce);
  const size_t ink_stride = size_t{4} * info->output_width;
  for (JDIMENSION i = 0; i < count; ++i)
    rows[i] = inks != nullptr ? inks + i * ink_stride : out + static_cast<int64_t>(i) * stride;
  const JDIMENSION read = jpeg_read_scanlines(info, rows, count);
  for (JDIMENSION i = 0; inks != nullptr && i < read; ++i) {
    ToRgb(PixelRule::kPaper8, inks + i * ink_stride, info->output_width,
          out + static_cast<int64_t>(i) * stride);
  }
  return read;
}

void ReadRows(JpegSession* session, const Target& target, JDIMENSION x, JDIMENSION end) {
  jpeg_decompress_struct* info = &session->info;
  RowTarget* const rows = target.rows;
  while (info->output_scanline < end) {
    const JDIMENSION first = info->output_scanline;
    int64_t count = int64_t{end} - first;
    uint8_t* out = rows->Room(first, &count) + size_t{3} * x;
    for (int64_t got = 0; got < count;)
      got += ReadSome(info, static_cast<JDIMENSION>(count - got), rows->stride(), target.inks,
                      out + got * rows->stride());
    rows->Done(first, count);
  }
}

// Decodes only what the region needs, and a margin: the smooth upsampling of chroma looks at neighbours, and
// treats the edges of what it is given as edges of the picture. What lies below is still walked through,
// since pixels may be missing there.
void ReadRegion(JpegSession* session, const Target& target) {
  jpeg_decompress_struct* info = &session->info;
  const PixelRegion& region = target.options->region;
  const auto block_width = static_cast<JDIMENSION>(info->max_h_samp_factor * DCTSIZE);
  const auto block_height = static_cast<JDIMENSION>(info->max_v_samp_factor * DCTSIZE);
  JDIMENSION x = 0;
  const auto left = static_cast<JDIMENSION>(region.x) / block_width;
  const JDIMENSION right = std::min<JDIMENSION>(
      static_cast<JDIMENSION>(region.x + region.width) + block_width, info->output_width);
  x = left > 0 ? (left - 1) * block_width : 0;
  JDIMENSION width = right - x;
  // Below this the bookkeeping of the library costs more than it saves.
  constexpr JDIMENSION kWorthIt = 8;
  if (info->output_width - width >= kWorthIt * block_width) {
    jpeg_crop_scanline(info, &x, &width);
  } else {
    x = 0;
  }
  const JDIMENSION top_block = static_cast<JDIMENSION>(region.y) / block_height;
  constexpr JDIMENSION kMarginBlocks = 2;
  if (top_block > kMarginBlocks) jpeg_skip_scanlines(info, (top_block - kMarginBlocks) * block_height);
  ReadRows(session, target, x, static_cast<JDIMENSION>(region.y + region.height));
  // The library closes an image row of blocks only when its last row is taken.
  const JDIMENSION left_over = info->output_height - info->output_scanline;
  if (left_over > 0) jpeg_skip_scanlines(info, left_over);
}

// False when the library gave up, and then the session says why. No object with a destructor lives here.
bool Read(absl::string_view file, const Target& target, JpegSession* session) {
  if (setjmp(session->failed) != 0) return false;
  jpeg_decompress_struct* info = &session->info;
  const ImageHeader& header = *target.header;
  const int shrink = target.options->shrink;
  session->Begin(file);
  jpeg_read_header(info, TRUE);
  if (info->image_width != header.width || info->image_height != header.height ||
      info->num_components != header.channels) {
    session->Fail("the header contradicts itself about the size");
  }
  info->out_color_space = target.inks != nullptr ? JCS_CMYK : JCS_RGB;
  info->scale_denom = static_cast<unsigned int>(shrink);
  jpeg_start_decompress(info);
  if (info->output_width != ShrunkSide(header.width, shrink) ||
      info->output_height != ShrunkSide(header.height, shrink)) {
    session->Fail("the library scales otherwise than is documented");
  }
  session->CheckScans();
  const PixelRegion& region = target.options->region;
  if (region.width > 0 && shrink == 1) {
    ReadRegion(session, target);
  } else {
    ReadRows(session, target, 0, info->output_height);
  }
  // Every pixel is there. What follows, even a missing end marker, takes nothing away.
  return true;
}

}  // namespace

absl::Status DecodeJpeg(absl::string_view file, const ImageHeader& header, RowTarget* rows,
                        const JpegOptions& options) {
  if (header.channels != 1 && header.channels != 3 && header.channels != 4) {
    return DecodeError(Reason::kUnsupportedFormat, absl::StrCat("a JPEG of ", header.channels,
                                                                " components has no defined meaning; send 1 "
                                                                "(grey), 3 (colour) or 4 (CMYK)"));
  }
  if (header.lossless) return DecodeLosslessJpeg(file, header, rows);
  if (header.arithmetic) {
    if (absl::Status status = CheckArithmeticEnds(file, header); !status.ok()) return status;
  }
  std::vector<uint8_t> inks;
  if (header.channels == 4) inks.resize(static_cast<size_t>(kRowsAtOnce * 4 * header.width));
  const Target target{&header, &options, rows, inks.empty() ? nullptr : inks.data()};
  JpegSession session;
  return Read(file, target, &session) ? absl::OkStatus() : session.Error();
}

std::string JpegVersion() {
  constexpr int kNumber = LIBJPEG_TURBO_VERSION_NUMBER;
  return absl::StrCat(kNumber / 1000000, ".", kNumber / 1000 % 1000, ".", kNumber % 1000);
}

}  // namespace embedd
