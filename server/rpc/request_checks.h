// SPDX-License-Identifier: Apache-2.0
//
// Checks of a request before anything is spent on it. What is wrong with the request as a whole fails the
// call and names the field; what is wrong with one image fails that image alone. Pure functions.

#pragma once

#include <optional>
#include <string>

#include "embedd/v1/embedding_service.pb.h"
#include "server/rpc/call_failure.h"
#include "server/rpc/road.h"

namespace embedd {

// The parts of a request that EmbedBatch and the first message of EmbedStream share.
struct CallSettings {
  v1::Encoding encoding = v1::ENCODING_FLOAT32;  // never UNSPECIFIED
  bool normalize = true;
  Lane lane = Lane::kInteractive;
  std::string expect_fingerprint;
};

// INVALID_ARGUMENT naming `encoding` or `priority`, or the settings.
std::optional<CallFailure> ReadSettings(int encoding, std::optional<bool> normalize, int priority,
                                        const std::string& expect_fingerprint, CallSettings* out);

// Largest width and height of raw pixels: their bytes can be counted in 64 bits.
inline constexpr int64_t kMaxRawSide = 1 << 24;

// INVALID_ARGUMENT for an input that is malformed: empty, zero-sized, or raw pixels of the wrong size. `path`
// is its place in the request, e.g. "inputs[3]".
std::optional<CallFailure> CheckInput(const v1::Input& input, const std::string& path);

// INVALID_ARGUMENT for an EmbedBatchRequest that is malformed anywhere.
std::optional<CallFailure> CheckRequest(const v1::EmbedBatchRequest& request, const RequestLimits& limits);

// Why one well-formed input fails alone before it is decoded: a tower that is not served, too many bytes
// or pixels.
struct InputRefusal {
  absl::Status status;
  Reason reason;
};
std::optional<InputRefusal> RefuseInput(const v1::Input& input, const RequestLimits& limits,
                                        const ModelSpec& model);

// The tower that embeds a well-formed input.
Tower TowerOf(const v1::Input& input);

// Bytes of content an input carries.
int64_t ContentBytes(const v1::Input& input);

// Why the server takes no call now (loading, draining, failed), or nothing.
std::optional<CallFailure> CheckServing(const Road& road);

// The failure of a call that was on its way. Where the server itself is what ended, with the word when to try
// again.
CallFailure CutOff(const Road& road, absl::Status status, Reason reason);

// Which towers the inputs of a call need.
struct Kinds {
  bool image = false, text = false;
};
Kinds KindsOf(const v1::EmbedBatchRequest& request);

// What an answer with vectors of these kinds carries: the fingerprint of the one tower, or of both joined as
// IMAGE+TEXT.
std::string FingerprintOf(const ModelSpec& model, Kinds kinds);

// MODEL_MISMATCH, or nothing. The fingerprint of either tower will do for a call of one kind, that of both
// for any.
std::optional<CallFailure> CheckFingerprint(const std::string& expected, const ModelSpec& model, Kinds kinds);

CallFailure Unauthenticated();

}  // namespace embedd
