// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/webp_decoder.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

TEST_CASE("A truncated file and a size that is not the file's are corrupt") {
  const std::string file = test_files::LosslessWebp();
  const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
  std::vector<uint8_t> rgb(3 * header->pixels());
  CHECK(DecodeWebp(file, *header, rgb.data()).ok());
  CHECK(DecodeReason(DecodeWebp(file.substr(0, file.size() - 4), *header, rgb.data())) ==
        Reason::kCorruptImage);
  ImageHeader smaller = *header;
  smaller.width -= 1;
  CHECK(DecodeReason(DecodeWebp(file, smaller, rgb.data())) == Reason::kCorruptImage);
}

}  // namespace
}  // namespace embedd
