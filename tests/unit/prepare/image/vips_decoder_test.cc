// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/vips_decoder.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "server/prepare/image/image_header.h"
#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

using Catch::Matchers::Contains;

std::unique_ptr<VipsDecoder> MakeDecoder(ImageDecoder::Limits limits = {}) {
  absl::StatusOr<std::unique_ptr<VipsDecoder>> decoder = VipsDecoder::Create(limits);
  REQUIRE(decoder.ok());
  return *std::move(decoder);
}

Reason ReasonOf(const ImageDecoder& decoder, const std::string& file) {
  return DecodeReason(decoder.Decode(file).status());
}

// Adler-32 of the pixels, as zlib.adler32 gives it in Python.
uint32_t Checksum(const RgbImage& image) {
  uint32_t a = 1, b = 0;
  for (int i = 0; i < 3 * image.width * image.height; ++i) {
    a = (a + image.rgb[i]) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

struct Known {
  std::string (*file)();
  int width, height;
  uint32_t checksum;  // of Pillow's convert("RGB")
};

constexpr Known kKnown[] = {
    {test_files::Jpeg, 21, 13, 3220336940u},         {test_files::ProgressiveJpeg, 21, 13, 3220336940u},
    {test_files::CmykJpeg, 21, 13, 3217658635u},     {test_files::Png, 21, 13, 3707465994u},
    {test_files::Grey16Png, 5, 3, 5774999u},         {test_files::LossyWebp, 21, 13, 2913367357u},
    {test_files::LosslessWebp, 21, 13, 3707465994u}, {test_files::AnimatedWebp, 8, 8, 1501898593u},
};

TEST_CASE("JPEG, PNG and WebP decode to Pillow's pixels") {
  const auto decoder = MakeDecoder();
  for (const Known& known : kKnown) {
    const absl::StatusOr<RgbImage> image = decoder->Decode(known.file());
    INFO(image.status());
    REQUIRE(image.ok());
    CHECK(image->width == known.width);
    CHECK(image->height == known.height);
    CHECK(Checksum(*image) == known.checksum);
  }
}

TEST_CASE("A format outside the list is refused by name, though libvips could read it") {
  const auto decoder = MakeDecoder();
  const absl::Status status = decoder->Decode(test_files::Gif()).status();
  CHECK(DecodeReason(status) == Reason::kUnsupportedFormat);
  CHECK_THAT(std::string(status.message()), Contains("GIF"));
  CHECK(ReasonOf(*decoder, "") == Reason::kUnsupportedFormat);
  CHECK(ReasonOf(*decoder, "P6 2 2 255 aaaaaaaaaaaa") == Reason::kUnsupportedFormat);
  CHECK(ReasonOf(*decoder, "<svg xmlns='http://www.w3.org/2000/svg'/>") == Reason::kUnsupportedFormat);
}

TEST_CASE("A file that is cut off anywhere in its pixels is corrupt") {
  const auto decoder = MakeDecoder();
  for (const Known& known : kKnown) {
    const std::string file = known.file();
    // What follows the pixels may be missing: PNG's CRC and IEND chunk, and JPEG's end marker.
    for (size_t length = 12; length + 24 < file.size(); ++length) {
      CAPTURE(file.size(), length);
      CHECK(ReasonOf(*decoder, file.substr(0, length)) == Reason::kCorruptImage);
    }
  }
}

TEST_CASE("Damaged bytes give an error with a reason or an image, never anything else") {
  const auto decoder = MakeDecoder();
  std::mt19937 random(1);
  for (const Known& known : kKnown) {
    for (int round = 0; round < 200; ++round) {
      std::string file = known.file();
      for (int i = 0; i < 3; ++i) file[random() % file.size()] = static_cast<char>(random());
      const absl::StatusOr<RgbImage> image = decoder->Decode(file);
      if (image.ok()) continue;
      CHECK(DecodeReason(image.status()) != Reason::kNone);
      CHECK_FALSE(image.status().message().empty());
    }
  }
}

TEST_CASE("A right start followed by noise is corrupt") {
  const auto decoder = MakeDecoder();
  CHECK(ReasonOf(*decoder, "\xFF\xD8\xFF\xE0 this is not a picture at all") == Reason::kCorruptImage);
  CHECK(ReasonOf(*decoder, test_files::Png().substr(0, 33) + std::string(500, 'x')) == Reason::kCorruptImage);
  CHECK(ReasonOf(*decoder, test_files::LossyWebp().substr(0, 30) + std::string(500, 'x')) ==
        Reason::kCorruptImage);
}

TEST_CASE("Bytes and pixels over the limit are refused from the header, with both numbers") {
  ImageDecoder::Limits limits;
  limits.max_image_bytes = 600;
  limits.max_pixels = 21 * 13;
  CHECK(MakeDecoder(limits)->Decode(test_files::Png()).ok());
  const absl::Status bytes = MakeDecoder(limits)->Decode(test_files::Jpeg()).status();
  CHECK(DecodeReason(bytes) == Reason::kImageTooLarge);
  CHECK_THAT(std::string(bytes.message()), Contains("699") && Contains("600"));
  limits.max_pixels -= 1;
  const absl::Status pixels = MakeDecoder(limits)->Decode(test_files::Png()).status();
  CHECK(DecodeReason(pixels) == Reason::kImageTooLarge);
  CHECK_THAT(std::string(pixels.message()), Contains("273") && Contains("272"));
}

TEST_CASE("A header that promises 900 million pixels is refused before anything is decoded") {
  std::string file = test_files::Png();
  const std::string size("\0\0\x75\x30\0\0\x75\x30", 8);
  const absl::Status status = MakeDecoder()->Decode(file.replace(16, 8, size)).status();
  CHECK(DecodeReason(status) == Reason::kImageTooLarge);
  CHECK_THAT(std::string(status.message()), Contains("30000x30000 = 900000000"));
}

TEST_CASE("JPEGs of more than 8 bits are an unsupported format, not a corrupt file") {
  std::string file = test_files::Jpeg();
  const size_t frame = file.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  file[frame + 4] = 12;
  CHECK(ReasonOf(*MakeDecoder(), file) == Reason::kUnsupportedFormat);
}

TEST_CASE("Many threads decode with one decoder, good and bad files, and each gets its own answer") {
  const auto decoder = MakeDecoder();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const Known& known = kKnown[(t + i) % std::size(kKnown)];
        const std::string file = known.file();
        const absl::StatusOr<RgbImage> image = decoder->Decode(file);
        if (!image.ok() || Checksum(*image) != known.checksum) ++wrong;
        if (ReasonOf(*decoder, file.substr(0, file.size() / 2)) != Reason::kCorruptImage) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("The version of libvips has three numbers") {
  MakeDecoder();
  const std::string version = VipsDecoder::LibraryVersion();
  CHECK(std::count(version.begin(), version.end(), '.') == 2);
}

}  // namespace
}  // namespace embedd
