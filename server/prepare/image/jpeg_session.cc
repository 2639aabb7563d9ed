// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/jpeg_session.h"

#include "absl/strings/str_cat.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

// Real progressive files have about ten. Each scan walks the whole image, so many tiny ones are an attack.
constexpr int kMostScans = 100;

void OnOutput(j_common_ptr) {}

// Moves on to the next marker of `src` and takes it; 0 when there is none.
int NextMarker(jpeg_source_mgr* src) {
  while (src->bytes_in_buffer >= 2) {
    const JOCTET* at = src->next_input_byte;
    if (at[0] == 0xFF && at[1] != 0 && at[1] != 0xFF) {
      src->next_input_byte += 2;
      src->bytes_in_buffer -= 2;
      return at[1];
    }
    ++src->next_input_byte;
    --src->bytes_in_buffer;
  }
  return 0;
}

}  // namespace

JpegSession::JpegSession() {
  info.err = jpeg_std_error(&errors_);
  info.client_data = this;
  errors_.error_exit = OnError;
  errors_.emit_message = OnMessage;
  errors_.output_message = OnOutput;
  progress_.progress_monitor = OnProgress;
}

JpegSession::~JpegSession() { jpeg_destroy_decompress(&info); }

void JpegSession::Begin(absl::string_view file) {
  jpeg_create_decompress(&info);
  info.client_data = this;
  info.progress = &progress_;
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  info.src->resync_to_restart = OnWrongRestart;
}

void JpegSession::Fail(const char* why) {
  why_ = why;
  std::longjmp(failed, 1);
}

void JpegSession::OnError(j_common_ptr info) {
  JpegSession* session = Of(info);
  session->code_ = info->err->msg_code;
  info->err->format_message(info, session->message_);
  std::longjmp(session->failed, 1);
}

// The library goes on after a warning. These mean that pixels are lost; the others are about order and
// decoration.
void JpegSession::OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  JpegSession* session = Of(info);
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
      session->end_missing_ = true;  // whether pixels were still to come shows when they are asked for
      break;
    case JWRN_HIT_MARKER:
      session->Fail(session->end_missing_ ? "the file ends before the image does"
                                          : "the image data ends before the image does");
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
      OnError(info);
      break;
    default:
      break;
  }
}

void JpegSession::OnProgress(j_common_ptr info) {
  JpegSession* session = Of(info);
  if (session->info.input_scan_number > kMostScans) session->Fail("more scans than any real file has");
}

// Called with a marker that is not the restart marker whose turn it is. The library decides by the distance
// of the two numbers whether to take it for the wanted one, to skip to the next, or to give an interval up as
// lost; the same rules here, but a lost interval is an error.
boolean JpegSession::OnWrongRestart(j_decompress_ptr info, int desired) {
  int marker = info->unread_marker;
  while (marker != 0) {
    const bool restart = marker >= JPEG_RST0 && marker <= JPEG_RST0 + 7;
    const int ahead = (marker - JPEG_RST0 - desired) & 7;
    constexpr int kFirstFrame = 0xC0;
    if (restart && (ahead == 0 || (ahead > 2 && ahead < 6))) {
      info->unread_marker = 0;
      return TRUE;
    }
    if (marker >= kFirstFrame && (!restart || ahead <= 2)) break;
    marker = NextMarker(info->src);
  }
  Of(reinterpret_cast<j_common_ptr>(info))
      ->Fail("a part of the image data between two restart markers is lost");
}

void JpegSession::CheckScans() {
  if (jpeg_has_multiple_scans(&info) == FALSE) return;
  for (int c = 0; c < info.num_components; ++c) {
    // The table is taken with the first scan that holds the component.
    if (info.comp_info[c].quant_table == nullptr) Fail("the data of a colour is missing");
    if (info.progressive_mode == FALSE) continue;
    // Bits of each coefficient that are still to come; -1: none came at all, which only a file that ends
    // where it should may mean.
    const int* to_come = info.coef_bits[c];
    for (int k = 0; k < DCTSIZE2; ++k) {
      if (to_come[k] > 0 || (to_come[k] < 0 && (k == 0 || end_missing_)))
        Fail("the file ends before its last scan");
    }
  }
}

absl::Status JpegSession::Error() const {
  if (code_ == JERR_OUT_OF_MEMORY && why_ == nullptr) return NoHostMemory();
  const absl::string_view what = why_ != nullptr ? why_ : message_;
  const bool unknown = code_ == JERR_SOF_UNSUPPORTED || code_ == JERR_BAD_PRECISION ||
                       code_ == JERR_ARITH_NOTIMPL || code_ == JERR_CONVERSION_NOTIMPL;
  if (unknown && why_ == nullptr) {
    return DecodeError(
        Reason::kUnsupportedFormat,
        "this is a JPEG of more than 8 bits, or of a kind that is not read here; send an ordinary one");
  }
  return DecodeError(Reason::kCorruptImage, absl::StrCat("JPEG: ", what));
}

}  // namespace embedd
