// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_decoder.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>

// jpeglib.h needs size_t and FILE before it, jerror.h needs jpeglib.h.
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// Real progressive files have about ten. Each scan walks the whole image, so many tiny ones are an attack.
constexpr int kMostScans = 100;
constexpr int kRowsAtOnce = 16;

// What libjpeg's callbacks share. Plain data: a longjmp may skip any frame between here and libjpeg.
struct Reader {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf failed;
  const char* why;  // instead of libjpeg's own message
  char message[JMSG_LENGTH_MAX];
};

Reader* ReaderOf(j_common_ptr info) { return static_cast<Reader*>(info->client_data); }

[[noreturn]] void Fail(Reader* reader, const char* why) {
  reader->why = why;
  std::longjmp(reader->failed, 1);
}

void OnError(j_common_ptr info) {
  info->err->format_message(info, ReaderOf(info)->message);
  std::longjmp(ReaderOf(info)->failed, 1);
}

// libjpeg goes on after a warning. These mean that pixels are lost; the others are about order and
// decoration.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
      Fail(ReaderOf(info), "the file ends before the image does");
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
      OnError(info);
      break;
    default:
      break;
  }
}

void OnOutput(j_common_ptr) {}

void OnProgress(j_common_ptr info) {
  Reader* reader = ReaderOf(info);
  if (reader->info.input_scan_number > kMostScans) Fail(reader, "more scans than any real file has");
}

// False when libjpeg gave up; then reader->why or reader->message says why. No object with a destructor lives
// here.
bool Read(absl::string_view file, const ImageHeader& header, int shrink, uint8_t* rgb, Reader* reader) {
  jpeg_decompress_struct* info = &reader->info;
  if (setjmp(reader->failed) != 0) return false;
  jpeg_create_decompress(info);
  info->client_data = reader;
  info->progress = &reader->progress;
  jpeg_mem_src(info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(info, TRUE);
  if (info->image_width != header.width || info->image_height != header.height) {
    Fail(reader, "the header contradicts itself about the size");
  }
  info->out_color_space = JCS_RGB;
  info->scale_denom = static_cast<unsigned int>(shrink);
  jpeg_start_decompress(info);
  if (info->output_width != ShrunkSide(header.width, shrink) ||
      info->output_height != ShrunkSide(header.height, shrink)) {
    Fail(reader, "the library scales otherwise than is documented");
  }
  const size_t stride = size_t{3} * info->output_width;
  while (info->output_scanline < info->output_height) {
    JSAMPROW rows[kRowsAtOnce];
    const int count = std::min<int>(kRowsAtOnce, info->output_height - info->output_scanline);
    for (int i = 0; i < count; ++i) rows[i] = rgb + (info->output_scanline + i) * stride;
    jpeg_read_scanlines(info, rows, count);
  }
  // Reads up to the end marker: without one the file is cut short, though all pixels may have come.
  jpeg_finish_decompress(info);
  return true;
}

}  // namespace

bool JpegDecoderTakes(const ImageHeader& header) {
  return header.format == ImageFormat::kJpeg && header.bits == 8 && !header.lossless &&
         (header.channels == 1 || header.channels == 3);
}

absl::Status DecodeJpeg(absl::string_view file, const ImageHeader& header, uint8_t* rgb, int shrink) {
  Reader reader = {};
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.info.client_data = &reader;
  reader.errors.error_exit = OnError;
  reader.errors.emit_message = OnMessage;
  reader.errors.output_message = OnOutput;
  reader.progress.progress_monitor = OnProgress;
  const bool ok = Read(file, header, shrink, rgb, &reader);
  jpeg_destroy_decompress(&reader.info);
  if (ok) return absl::OkStatus();
  return DecodeError(Reason::kCorruptImage,
                     absl::StrCat("JPEG: ", reader.why != nullptr ? reader.why : reader.message));
}

}  // namespace embedd
