// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes through the decoder and the resampler. The last byte picks the spec. Built once
// for all formats and once for each (EMBEDD_FUZZ_FORMATS), so that a fuzzer does not spend its time on the
// others.

#include <cstdlib>
#include <vector>

#include "server/prepare/image/file_decoder.h"
#include "tests/fuzz/picked_spec.h"

namespace embedd {
namespace {

const ImageDecoder& Decoder() {
  ImageDecoder::Limits limits;
  limits.max_pixels = 1 << 20;
  limits.formats = *FormatSet::Parse(EMBEDD_FUZZ_FORMATS);
  static const FileDecoder& decoder = *FileDecoder::Create(limits).value().release();
  return decoder;
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace embedd;
  if (size == 0) return 0;
  const ImageSpec spec = PickedSpec(data[size - 1]);
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  const absl::Status status =
      Decoder().Prepare(absl::string_view(reinterpret_cast<const char*>(data), size - 1), spec, out.data());
  if (!status.ok() && (DecodeReason(status) == Reason::kNone || status.message().empty())) std::abort();
  return 0;
}
