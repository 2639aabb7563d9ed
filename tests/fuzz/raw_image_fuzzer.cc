// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: the header of a raw image, which is what a caller claims about bytes it sends, through
// the checks and, when they let it pass, the resampler. Bytes 0 to 7: width and height; byte 8: the spec, and
// (64) whether the pixels are made to fit the claim; the rest: pixels.

#include <cstdlib>
#include <cstring>
#include <vector>

#include "server/prepare/image/preprocess.h"
#include "server/rpc/request_checks.h"
#include "tests/fuzz/picked_spec.h"

namespace embedd {
namespace {

void Run(const v1::Input& input, uint8_t choice) {
  const RequestLimits limits{.max_pixels = 1 << 16};
  const bool well_formed = !CheckInput(input, "input").has_value();
  const v1::RawImage& raw = input.raw_image();
  if (well_formed !=
      (raw.width() > 0 && raw.height() > 0 && raw.width() <= 1u << 24 && raw.height() <= 1u << 24 &&
       raw.rgb().size() == size_t{3} * raw.width() * raw.height())) {
    std::abort();
  }
  ModelSpec model;
  model.towers = {"image"};
  if (!well_formed || RefuseInput(input, limits, model)) return;
  const ImageSpec spec = PickedSpec(choice);
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  Preprocess(reinterpret_cast<const uint8_t*>(raw.rgb().data()), static_cast<int>(raw.width()),
             static_cast<int>(raw.height()), spec, out.data());
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 9) return 0;
  uint32_t side[2];
  std::memcpy(side, data, sizeof(side));
  embedd::v1::Input input;
  embedd::v1::RawImage& raw = *input.mutable_raw_image();
  raw.set_width(side[0]);
  raw.set_height(side[1]);
  std::string rgb(reinterpret_cast<const char*>(data) + 9, size - 9);
  const uint64_t claimed = uint64_t{3} * side[0] * side[1];
  if ((data[8] & 64) && claimed < 1 << 20) rgb.resize(claimed, 'x');
  raw.set_rgb(std::move(rgb));
  embedd::Run(input, data[8]);
  return 0;
}
