// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes as an EmbedBatchRequest through every check of the edge. What passes them is
// within the limits, or the checks are worth nothing.

#include <cstdlib>
#include <optional>
#include <string>

#include "server/rpc/request_checks.h"

namespace embedd {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Check(const v1::EmbedBatchRequest& request) {
  const RequestLimits limits{.max_inputs = 8, .max_image_bytes = 1000, .max_pixels = 4096};
  if (const auto failure = CheckRequest(request, limits)) {
    Require(!failure->status.ok() && failure->reason != Reason::kNone && !failure->field.empty());
    return;
  }
  Require(request.inputs_size() >= 1 && request.inputs_size() <= limits.max_inputs);
  CallSettings settings;
  const std::optional<bool> normalize =
      request.has_normalize() ? std::optional(request.normalize()) : std::nullopt;
  const auto failure = ReadSettings(request.encoding(), normalize, request.priority(),
                                    request.expect_fingerprint(), &settings);
  Require(failure.has_value() || settings.encoding != v1::ENCODING_UNSPECIFIED);
  ModelSpec model;
  model.fingerprint = "f00d";
  model.towers = {"image"};
  CheckFingerprint(request.expect_fingerprint(), model, KindsOf(request));
  for (const v1::Input& input : request.inputs()) {
    const auto refused = RefuseInput(input, limits, model);
    Require(refused.has_value() ==
            (refused.has_value() && !refused->status.ok() && refused->reason != Reason::kNone));
    if (refused) continue;
    Require(ContentBytes(input) > 0);
    if (!input.has_raw_image()) continue;
    const int64_t pixels = int64_t{input.raw_image().width()} * input.raw_image().height();
    Require(pixels <= limits.max_pixels && ContentBytes(input) == 3 * pixels);
  }
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  embedd::v1::EmbedBatchRequest request;
  if (request.ParseFromArray(data, static_cast<int>(size))) embedd::Check(request);
  return 0;
}
