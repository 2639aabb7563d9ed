// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes through the decoder and the resampler. The last byte picks the spec.

#include <cstdlib>
#include <vector>

#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/preprocess.h"
#include "tests/fuzz/picked_spec.h"

namespace embedd {
namespace {

const ImageDecoder& Decoder() {
  ImageDecoder::Limits limits;
  limits.max_pixels = 1 << 20;
  static const FileDecoder& decoder = *FileDecoder::Create(limits).value().release();
  return decoder;
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace embedd;
  if (size == 0) return 0;
  const absl::StatusOr<RgbImage> image =
      Decoder().Decode(absl::string_view(reinterpret_cast<const char*>(data), size - 1));
  if (!image.ok()) {
    if (DecodeReason(image.status()) == Reason::kNone && !absl::IsResourceExhausted(image.status()))
      std::abort();
    return 0;
  }
  const ImageSpec spec = PickedSpec(data[size - 1]);
  std::vector<uint8_t> out(size_t{3} * spec.width * spec.height);
  Preprocess(image->rgb.get(), image->width, image->height, spec, out.data());
  return 0;
}
