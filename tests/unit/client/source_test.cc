// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/source.h"

#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd::client::internal {
namespace {

std::string Reason(const Source& source, size_t i) {
  v1::Input input;
  const auto error = source.Fill(i, &input);
  return error ? error->reason : "";
}

TEST_CASE("A file that cannot be read fails alone, with its reason") {
  const std::vector<std::string> paths{"/nonexistent/a.jpg", "/"};
  const auto source = FileSource(paths, {});
  CHECK(source->Bytes() == std::vector<size_t>{0, 0});
  v1::Input input;
  const auto missing = source->Fill(0, &input);
  REQUIRE(missing);
  CHECK(missing->code == absl::StatusCode::kNotFound);
  CHECK(missing->reason == "UNREADABLE_FILE");
  CHECK(Reason(*source, 1) == "UNREADABLE_FILE");
}

TEST_CASE("A file that is there and out of reach is not called missing") {
  const TempFolder dir;
  std::filesystem::create_symlink(dir.At("loop"), dir.At("loop"));
  const std::vector<std::string> paths{dir.At("loop"), dir.At(std::string(5000, 'x'))};
  const auto source = FileSource(paths, {});
  for (const size_t i : {0, 1}) {
    v1::Input input;
    const auto error = source->Fill(i, &input);
    REQUIRE(error);
    CHECK(error->reason == "UNREADABLE_FILE");
    CHECK(error->code != absl::StatusCode::kNotFound);
  }
}

TEST_CASE("An image that the server would refuse for its size is not sent") {
  const std::string large(2000, 'x');
  const std::vector<ImageRef> images{ImageRef::File(large), ImageRef::File(""), ImageRef::File("ok")};
  ServerInfo::Limits limits;
  limits.max_image_bytes = 1000;
  const auto source = ImageSource(images, limits);
  CHECK(source->Bytes() == std::vector<size_t>{0, 0, 2});
  CHECK(Reason(*source, 0) == "IMAGE_TOO_LARGE");
  CHECK(Reason(*source, 1) == "CORRUPT_IMAGE");
  CHECK(Reason(*source, 2).empty());
}

TEST_CASE("Raw pixels must be 3 * width * height bytes") {
  const std::string rgb(12, 'x');
  const std::vector<ImageRef> images{ImageRef::Raw(2, 2, rgb), ImageRef::Raw(2, 3, rgb),
                                     ImageRef::Raw(0, 4, rgb), ImageRef::Raw(0xffffffff, 0xffffffff, rgb)};
  const auto source = ImageSource(images, {});
  v1::Input input;
  REQUIRE_FALSE(source->Fill(0, &input));
  CHECK(input.raw_image().width() == 2);
  CHECK(input.raw_image().rgb() == rgb);
  for (const size_t i : {1, 2, 3}) CHECK(Reason(*source, i) == "CORRUPT_IMAGE");
}

TEST_CASE("An empty text is sent, one over a message is not") {
  const std::vector<std::string> texts{"a cat", "", std::string(2000, 'x')};
  const auto source = TextSource(texts, {.max_message_bytes = 1000});
  CHECK(Reason(*source, 0).empty());
  CHECK(Reason(*source, 1).empty());
  CHECK(Reason(*source, 2) == "TEXT_TOO_LARGE");
}

}  // namespace
}  // namespace embedd::client::internal
