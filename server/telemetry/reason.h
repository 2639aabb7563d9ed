// SPDX-License-Identifier: Apache-2.0
//
// Reason: why a call or an input was not answered with a vector, and everything that follows from it: the
// word that programs read, the code, whether the call goes on, whether a retry may help. One row in reason.cc
// is all that a new one needs. Nothing else spells a word or branches on its text.

#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace embedd {

enum class Reason : unsigned char {
  kNone,  // nothing went wrong
  // The request.
  kInvalidRequest,
  kTextNotSupported,
  kImageNotSupported,
  kUnsupportedFormat,
  kCorruptImage,
  kImageTooLarge,
  kModelMismatch,
  kUnauthenticated,
  kNotLocal,
  // The moment.
  kQueueFull,
  kDeadline,
  kCancelled,
  kModelLoading,
  kDraining,
  // The server.
  kHostMemory,
  kDeviceMemory,
  kDeviceFailed,
  kBadOutput,
  kInternalError,
};

struct ReasonRow {
  Reason reason;
  std::string_view word;     // ErrorInfo.reason, InputError.reason, label of embedd_rejected_total
  absl::StatusCode code;     // the numbers of gRPC
  bool fails_call;           // the whole call ends; else the input fails alone and its neighbours go on
  bool retry;                // the same call may succeed later, or elsewhere
  bool rejects;              // counted in embedd_rejected_total when it refuses something at the door
  std::string_view meaning;  // for people and for docs/api.md
};

// All of them but kNone, in the order of the enum.
absl::Span<const ReasonRow> AllReasons();
// The row of `reason`, which is not kNone.
const ReasonRow& RowOf(Reason reason);
// Its word; empty for kNone.
std::string_view ReasonWord(Reason reason);
// The reason of a word; kNone for any other text.
Reason ReasonOfWord(std::string_view word);

// An error with the code of `reason`.
absl::Status ReasonError(Reason reason, absl::string_view message);

}  // namespace embedd
