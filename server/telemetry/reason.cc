// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/reason.h"

#include <cstddef>

namespace embedd {
namespace {

using Code = absl::StatusCode;

constexpr bool kCall = true, kInput = false;
constexpr bool kRetry = true, kNoRetry = false;
constexpr bool kCounted = true, kUncounted = false;

// clang-format off
constexpr ReasonRow kRows[] = {
    {Reason::kInvalidRequest, "INVALID_REQUEST", Code::kInvalidArgument, kCall, kNoRetry, kCounted,
     "a field of the request is wrong; the message names it"},
    {Reason::kTextNotSupported, "TEXT_NOT_SUPPORTED", Code::kUnimplemented, kInput, kNoRetry, kCounted,
     "the model has no text tower, or it is not served"},
    {Reason::kImageNotSupported, "IMAGE_NOT_SUPPORTED", Code::kUnimplemented, kInput, kNoRetry, kCounted,
     "the model has no image tower, or it is not served"},
    {Reason::kUnsupportedFormat, "UNSUPPORTED_FORMAT", Code::kInvalidArgument, kInput, kNoRetry, kCounted,
     "the bytes are no image of a format that the server reads"},
    {Reason::kCorruptImage, "CORRUPT_IMAGE", Code::kInvalidArgument, kInput, kNoRetry, kCounted,
     "pixels are missing, or a checksum over them is wrong"},
    {Reason::kImageTooLarge, "IMAGE_TOO_LARGE", Code::kInvalidArgument, kInput, kNoRetry, kCounted,
     "more bytes or pixels than the limits allow"},
    {Reason::kModelMismatch, "MODEL_MISMATCH", Code::kFailedPrecondition, kCall, kNoRetry, kCounted,
     "the server's fingerprint is not the expected one"},
    {Reason::kUnauthenticated, "UNAUTHENTICATED", Code::kUnauthenticated, kCall, kNoRetry, kCounted,
     "no token, or a wrong one"},
    {Reason::kNotLocal, "NOT_LOCAL", Code::kPermissionDenied, kCall, kNoRetry, kUncounted,
     "an admin call that came over the network"},
    {Reason::kQueueFull, "QUEUE_FULL", Code::kResourceExhausted, kCall, kRetry, kCounted,
     "no place for so many inputs or bytes now; RetryInfo says when to try again"},
    {Reason::kDeadline, "DEADLINE", Code::kDeadlineExceeded, kCall, kNoRetry, kCounted,
     "the deadline passed, or cannot be met"},
    {Reason::kCancelled, "CANCELLED", Code::kCancelled, kCall, kNoRetry, kUncounted,
     "the caller went away"},
    {Reason::kModelLoading, "MODEL_LOADING", Code::kUnavailable, kCall, kRetry, kCounted,
     "the model is still loading"},
    {Reason::kDraining, "DRAINING", Code::kUnavailable, kCall, kRetry, kCounted,
     "the server is shutting down"},
    {Reason::kHostMemory, "HOST_MEMORY", Code::kResourceExhausted, kInput, kRetry, kCounted,
     "the host has no memory for this input"},
    {Reason::kDeviceMemory, "DEVICE_MEMORY", Code::kResourceExhausted, kInput, kRetry, kUncounted,
     "the input does not fit on the device even alone"},
    {Reason::kDeviceFailed, "DEVICE_FAILED", Code::kUnavailable, kCall, kRetry, kCounted,
     "the device was lost; the server restarts"},
    {Reason::kBadOutput, "BAD_OUTPUT", Code::kInternal, kInput, kNoRetry, kUncounted,
     "the model gave numbers that are no vector"},
    {Reason::kInternalError, "INTERNAL_ERROR", Code::kInternal, kCall, kNoRetry, kUncounted,
     "a bug; the server's log says more"},
};
// clang-format on

constexpr bool InOrder() {
  size_t at = 0;
  for (const ReasonRow& row : kRows) {
    if (static_cast<size_t>(row.reason) != ++at) return false;
  }
  return true;
}
static_assert(InOrder(), "the rows stand in the order of the enum");
static_assert(std::size(kRows) == static_cast<size_t>(Reason::kInternalError), "every reason has a row");

}  // namespace

absl::Span<const ReasonRow> AllReasons() { return kRows; }

const ReasonRow& RowOf(Reason reason) { return kRows[static_cast<size_t>(reason) - 1]; }

std::string_view ReasonWord(Reason reason) {
  return reason == Reason::kNone ? std::string_view() : RowOf(reason).word;
}

Reason ReasonOfWord(std::string_view word) {
  for (const ReasonRow& row : kRows) {
    if (row.word == word) return row.reason;
  }
  return Reason::kNone;
}

absl::Status ReasonError(Reason reason, absl::string_view message) {
  return absl::Status(RowOf(reason).code, message);
}

}  // namespace embedd
