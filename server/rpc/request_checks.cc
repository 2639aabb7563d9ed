// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/request_checks.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/support/utf8.h"

namespace embedd {

std::optional<CallFailure> ReadSettings(int encoding, std::optional<bool> normalize, int priority,
                                        const std::string& expect_fingerprint, CallSettings* out) {
  switch (encoding) {
    case v1::ENCODING_UNSPECIFIED:
    case v1::ENCODING_FLOAT32:
      out->encoding = v1::ENCODING_FLOAT32;
      break;
    case v1::ENCODING_FLOAT16:
    case v1::ENCODING_FLOAT_LIST:
      out->encoding = static_cast<v1::Encoding>(encoding);
      break;
    default:
      return InvalidRequest("encoding",
                            absl::StrCat(encoding,
                                         " is unknown; use ENCODING_FLOAT32 (1), ENCODING_FLOAT16 (2) "
                                         "or ENCODING_FLOAT_LIST (3)"));
  }
  switch (priority) {
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_INTERACTIVE:
      out->lane = Lane::kInteractive;
      break;
    case v1::PRIORITY_BULK:
      out->lane = Lane::kBulk;
      break;
    default:
      return InvalidRequest(
          "priority",
          absl::StrCat(priority, " is unknown; use PRIORITY_INTERACTIVE (1) or PRIORITY_BULK (2)"));
  }
  out->normalize = normalize.value_or(true);
  out->expect_fingerprint = expect_fingerprint;
  return std::nullopt;
}

std::optional<CallFailure> CheckInput(const v1::Input& input, const std::string& path) {
  switch (input.content_case()) {
    case v1::Input::kImage:
      if (input.image().empty()) {
        return InvalidRequest(absl::StrCat(path, ".image"), "is empty; send the bytes of an image file");
      }
      return std::nullopt;
    case v1::Input::kRawImage: {
      const v1::RawImage& raw = input.raw_image();
      if (raw.width() == 0 || raw.width() > kMaxRawSide) {
        return InvalidRequest(absl::StrCat(path, ".raw_image.width"),
                              absl::StrCat("is ", raw.width(), "; must be 1 to 2^24"));
      }
      if (raw.height() == 0 || raw.height() > kMaxRawSide) {
        return InvalidRequest(absl::StrCat(path, ".raw_image.height"),
                              absl::StrCat("is ", raw.height(), "; must be 1 to 2^24"));
      }
      const uint64_t expected = uint64_t{3} * raw.width() * raw.height();  // at most 3 * 2^48
      if (raw.rgb().size() != expected) {
        return InvalidRequest(absl::StrCat(path, ".raw_image.rgb"),
                              absl::StrCat("has ", raw.rgb().size(), " bytes; 3 * width * height = 3 * ",
                                           raw.width(), " * ", raw.height(), " = ", expected));
      }
      return std::nullopt;
    }
    case v1::Input::kText:
      return std::nullopt;  // empty, too: a text like any other
    case v1::Input::CONTENT_NOT_SET:
      break;
  }
  return InvalidRequest(path, "is empty; set image, raw_image or text");
}

std::optional<CallFailure> CheckRequest(const v1::EmbedBatchRequest& request, const RequestLimits& limits) {
  if (request.inputs_size() == 0) return InvalidRequest("inputs", "is empty; send at least one");
  if (request.inputs_size() > limits.max_inputs) {
    CallFailure failure =
        InvalidRequest("inputs", absl::StrCat("has ", request.inputs_size(), "; the limit is ",
                                              limits.max_inputs, " a request (--max-inputs)"));
    failure.metadata = {{"inputs", absl::StrCat(request.inputs_size())},
                        {"max_inputs_per_request", absl::StrCat(limits.max_inputs)}};
    return failure;
  }
  for (int i = 0; i < request.inputs_size(); ++i) {
    if (auto failure = CheckInput(request.inputs(i), absl::StrCat("inputs[", i, "]"))) return failure;
  }
  return std::nullopt;
}

Tower TowerOf(const v1::Input& input) { return input.has_text() ? Tower::kText : Tower::kImage; }

std::optional<InputRefusal> RefuseInput(const v1::Input& input, const RequestLimits& limits,
                                        const ModelSpec& model) {
  if (const Tower tower = TowerOf(input); !model.Serves(tower)) {
    const Reason reason = tower == Tower::kText ? Reason::kTextNotSupported : Reason::kImageNotSupported;
    return InputRefusal{ReasonError(reason, absl::StrCat("no ", TowerName(tower),
                                                         " tower is served here (--towers, or the "
                                                         "model has none); send ",
                                                         tower == Tower::kText ? "images" : "texts")),
                        reason};
  }
  if (input.has_image() && static_cast<int64_t>(input.image().size()) > limits.max_image_bytes) {
    return InputRefusal{absl::InvalidArgumentError(
                            absl::StrCat("the image file has ", input.image().size(), " bytes; the limit is ",
                                         limits.max_image_bytes, " (--max-image-bytes)")),
                        Reason::kImageTooLarge};
  }
  if (input.has_raw_image()) {
    const int64_t pixels = int64_t{input.raw_image().width()} * input.raw_image().height();
    if (pixels > limits.max_pixels) {
      return InputRefusal{
          absl::InvalidArgumentError(absl::StrCat("the image has ", pixels, " pixels; the limit is ",
                                                  limits.max_pixels, " (--max-pixels)")),
          Reason::kImageTooLarge};
    }
  }
  return std::nullopt;
}

int64_t ContentBytes(const v1::Input& input) {
  if (input.has_image()) return static_cast<int64_t>(input.image().size());
  if (input.has_raw_image()) return static_cast<int64_t>(input.raw_image().rgb().size());
  return static_cast<int64_t>(input.text().size());
}

std::optional<CallFailure> CheckServing(const Road& road) {
  switch (road.state->state()) {
    case ServerState::kReady:
    case ServerState::kOffloaded:
      return std::nullopt;
    case ServerState::kLoading:
      return CallFailure{.status = absl::UnavailableError("the model is still loading; try again shortly"),
                         .reason = Reason::kModelLoading,
                         .retry_after = absl::Seconds(1)};
    case ServerState::kDraining:
      return CallFailure{
          .status = absl::UnavailableError("the server is shutting down; try another one, or again"),
          .reason = Reason::kDraining,
          .retry_after = absl::Seconds(1)};
    case ServerState::kFailed:
      break;
  }
  return CallFailure{.status = absl::UnavailableError("the device was lost; the server restarts"),
                     .reason = Reason::kDeviceFailed,
                     .retry_after = absl::Seconds(2)};
}

CallFailure CutOff(const Road& road, absl::Status status, Reason reason) {
  if (absl::IsUnavailable(status)) {
    if (auto failure = CheckServing(road)) return *std::move(failure);
  }
  return {.status = std::move(status), .reason = reason};
}

Kinds KindsOf(const v1::EmbedBatchRequest& request) {
  Kinds kinds;
  for (const v1::Input& input : request.inputs()) (input.has_text() ? kinds.text : kinds.image) = true;
  return kinds;
}

std::string FingerprintOf(const ModelSpec& model, Kinds kinds) {
  if (!kinds.text || !model.text) return model.fingerprint;
  return kinds.image ? absl::StrCat(model.fingerprint, "+", model.text->fingerprint)
                     : model.text->fingerprint;
}

std::optional<CallFailure> CheckFingerprint(const std::string& expected, const ModelSpec& model,
                                            Kinds kinds) {
  const std::string both = FingerprintOf(model, {.image = true, .text = true});
  if (expected.empty() || expected == both) return std::nullopt;
  const bool one_kind = !(kinds.image && kinds.text);
  if (one_kind && (expected == model.fingerprint || (model.text && expected == model.text->fingerprint))) {
    return std::nullopt;
  }
  const std::string actual = FingerprintOf(model, kinds);
  const std::string shown(CutUtf8(expected, 128));
  return CallFailure{.status = absl::FailedPreconditionError(
                         absl::StrCat("expect_fingerprint is ", shown, ", this server's model is ", actual,
                                      ": vectors of the two must not be mixed in one collection")),
                     .reason = Reason::kModelMismatch,
                     .metadata = {{"expected", shown}, {"actual", actual}}};
}

CallFailure Unauthenticated() {
  return {.status = absl::UnauthenticatedError("send a valid token: authorization: Bearer TOKEN"),
          .reason = Reason::kUnauthenticated};
}

}  // namespace embedd
