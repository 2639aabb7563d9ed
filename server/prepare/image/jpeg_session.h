// SPDX-License-Identifier: Apache-2.0
//
// JpegSession: one decompression by libjpeg-turbo, with our answer to every warning: does it lose pixels?
// Used by JpegDecoder and by the check of arithmetic files. Errors leave the library by longjmp: between
// setjmp and a call of the library no object with a destructor may live.

#pragma once

#include <csetjmp>
#include <cstdio>

// jpeglib.h needs size_t and FILE before it, jerror.h needs jpeglib.h.
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace embedd {

class JpegSession {
 public:
  JpegSession();
  ~JpegSession();
  JpegSession(const JpegSession&) = delete;
  JpegSession& operator=(const JpegSession&) = delete;

  // Points the library at `file`. After setjmp(failed).
  void Begin(absl::string_view file);
  // After jpeg_start_decompress of a file of several scans: fails when scans are missing.
  void CheckScans();
  [[noreturn]] void Fail(const char* why);
  // What went wrong, after a longjmp to `failed`.
  absl::Status Error() const;

  jpeg_decompress_struct info = {};
  std::jmp_buf failed;

 private:
  static JpegSession* Of(j_common_ptr info) { return static_cast<JpegSession*>(info->client_data); }
  [[noreturn]] static void OnError(j_common_ptr info);
  static void OnMessage(j_common_ptr info, int level);
  static void OnProgress(j_common_ptr info);
  static boolean OnWrongRestart(j_decompress_ptr info, int desired);

  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  const char* why_ = nullptr;  // instead of the library's own message
  char message_[JMSG_LENGTH_MAX] = {};
  int code_ = 0;  // of the library's message
  bool end_missing_ = false;
};

}  // namespace embedd
