// SPDX-License-Identifier: Apache-2.0
//
// The formats beside JPEG, PNG and WebP, and what holds for all of them: one picture's error is its own, and
// one picture that finds no memory fails alone.

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/preprocess.h"
#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

std::unique_ptr<FileDecoder> MakeDecoder(absl::string_view formats = "all", int64_t max_pixels = 64'000'000) {
  ImageDecoder::Limits limits;
  limits.formats = *FormatSet::Parse(formats);
  limits.max_pixels = max_pixels;
  return *FileDecoder::Create(limits);
}

// Adler-32 of the pixels, as zlib.adler32 gives it in Python.
uint32_t Adler(const RgbImage& image) {
  uint32_t a = 1, b = 0;
  for (int64_t i = 0; i < int64_t{3} * image.width * image.height; ++i) {
    a = (a + image.rgb[i]) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

TEST_CASE("GIF, BMP and TIFF give Pillow's pixels") {
  const auto decoder = MakeDecoder();
  const std::pair<std::string, uint32_t> files[] = {
      {test_files::SmallGif(), 3548610006}, {test_files::Bmp(), 2145944153}, {test_files::Tiff(), 268599834}};
  for (const auto& [file, sum] : files) {
    const absl::StatusOr<RgbImage> image = decoder->Decode(file);
    REQUIRE(image.ok());
    CHECK(image->width == 21);
    CHECK(image->height == 13);
    CHECK(Adler(*image) == sum);
  }
}

TEST_CASE("AVIF and HEIC come out near what was drawn") {
  const auto decoder = MakeDecoder();
  const absl::StatusOr<RgbImage> avif = decoder->Decode(test_files::Avif());
  REQUIRE(avif.ok());
  REQUIRE(avif->width == 21);
  const absl::StatusOr<RgbImage> heic = decoder->Decode(test_files::Heic());
  REQUIRE(heic.ok());
  REQUIRE(heic->width == 64);
  for (const RgbImage* image : {&*avif, &*heic}) {
    const uint8_t* last = image->rgb.get() + 3 * (image->width * image->height - 1);
    CHECK(std::abs(image->rgb[0] - 0) < 24);
    CHECK(std::abs(last[0] - 240) < 24);
    CHECK(std::abs(last[1] - 228) < 24);
    CHECK(std::abs(last[2] - 128) < 24);
  }
}

TEST_CASE("The tiles of a HEIC grid lie where they belong and are cut at its edges, as libheif has them") {
  const auto decoder = MakeDecoder();
  const std::string file = test_files::HeicGrid();
  const absl::StatusOr<RgbImage> image = decoder->Decode(file);
  INFO(image.status());
  REQUIRE(image.ok());
  REQUIRE(image->width == 100);
  REQUIRE(image->height == 90);
  // libheif's pixels.
  const uint8_t colors[4][3] = {{200, 30, 30}, {30, 159, 40}, {41, 50, 191}, {230, 220, 60}};
  for (int y = 0; y < 90; ++y) {
    for (int x = 0; x < 100; ++x) {
      const uint8_t* pixel = image->rgb.get() + 3 * (y * 100 + x);
      const uint8_t* wanted = colors[2 * (y / 64) + x / 64];
      for (int c = 0; c < 3; ++c) {
        if (std::abs(pixel[c] - wanted[c]) > 2) FAIL("at " << x << ", " << y);
      }
    }
  }
  CHECK(DecodeReason(decoder->Decode(file.substr(0, file.size() - 1)).status()) == Reason::kCorruptImage);
  CHECK(DecodeReason(MakeDecoder("all", 100 * 90 - 1)->Decode(file).status()) == Reason::kImageTooLarge);
}

TEST_CASE("HEIC is refused unless it is named, and every format may be taken away") {
  CHECK(DecodeReason(MakeDecoder("+heic")->Decode(test_files::Heic()).status()) == Reason::kNone);
  const absl::Status status = (*FileDecoder::Create({}))->Decode(test_files::Heic()).status();
  CHECK(DecodeReason(status) == Reason::kUnsupportedFormat);
  CHECK_THAT(std::string(status.message()), ContainsSubstring("--formats +heic"));
  for (const std::string& file : {test_files::Tiff(), test_files::Bmp(), test_files::Avif()}) {
    CHECK(DecodeReason(MakeDecoder("jpeg,png")->Decode(file).status()) == Reason::kUnsupportedFormat);
  }
}

TEST_CASE("The limit on pixels holds for each format before a pixel is decoded") {
  for (const std::string& file : test_files::All()) {
    const absl::StatusOr<ImageHeader> header = ReadImageHeader(file);
    REQUIRE(header.ok());
    CHECK(DecodeReason(MakeDecoder("all", header->pixels() - 1)->Decode(file).status()) ==
          Reason::kImageTooLarge);
    CHECK(MakeDecoder("all", header->pixels())->Decode(file).ok());
  }
  CHECK(DecodeReason(MakeDecoder("all", 64 * 64 - 1)->Decode(test_files::Heic()).status()) ==
        Reason::kImageTooLarge);
}

TEST_CASE("A coded AVIF frame larger than its container claims is refused, not decoded") {
  std::string file = test_files::Avif();
  const size_t ispe = file.find("ispe");
  REQUIRE(ispe != std::string::npos);
  file[ispe + 11] = file[ispe + 15] = 8;
  CHECK(DecodeReason(MakeDecoder("all", 100)->Decode(file).status()) == Reason::kImageTooLarge);
  CHECK(DecodeReason(MakeDecoder()->Decode(file).status()) == Reason::kCorruptImage);
}

TEST_CASE("Sides of 32 bits are no picture, and their product is not computed") {
  std::string file = test_files::Avif();
  const size_t ispe = file.find("ispe");
  REQUIRE(ispe != std::string::npos);
  for (size_t i = 8; i < 16; ++i) file[ispe + i] = '\xFF';
  CHECK(DecodeReason(MakeDecoder()->Decode(file).status()) == Reason::kCorruptImage);
}

TEST_CASE("An error speaks of its own picture only, with any number of threads") {
  const auto decoder = MakeDecoder();
  std::vector<std::string> files = test_files::All();
  for (const std::string& whole : test_files::All()) {
    files.push_back(whole.substr(0, whole.size() / 2));
    std::string changed = whole;
    for (size_t i = whole.size() / 2; i < whole.size() / 2 + 6; ++i) changed[i] = static_cast<char>(i);
    files.push_back(changed);
  }
  std::vector<std::string> alone;
  for (const std::string& file : files) alone.push_back(decoder->Decode(file).status().ToString());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  constexpr size_t kThreads = 8, kEach = 1250;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < kEach; ++i) {
        const size_t at = (i * 7 + t * 5) % files.size();
        if (decoder->Decode(files[at]).status().ToString() != alone[at]) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("What a tower takes of a file has the bytes that the whole picture gives") {
  const auto decoder = MakeDecoder();
  std::vector<ImageSpec> specs;
  for (const ResizeMode mode : {ResizeMode::kShortest, ResizeMode::kLongest, ResizeMode::kSquash}) {
    // Far smaller than the files, as large as most of them, and larger.
    for (const int side : {8, 40, 100}) {
      ImageSpec spec;
      spec.width = spec.height = side;
      spec.resize_mode = mode;
      specs.push_back(spec);
    }
  }
  for (const std::string& file : test_files::All()) {
    const absl::StatusOr<RgbImage> whole = decoder->Decode(file);
    REQUIRE(whole.ok());
    for (const ImageSpec& spec : specs) {
      std::vector<uint8_t> want(static_cast<size_t>(spec.bytes())), got(want.size());
      Preprocess(whole->rgb.get(), whole->width, whole->height, spec, want.data());
      REQUIRE(decoder->Prepare(file, spec, got.data()).ok());
      CHECK(got == want);
    }
  }
}

TEST_CASE("A file whose pixels are missing gives no input of a tower, though rows of it came") {
  const auto decoder = MakeDecoder();
  ImageSpec spec;
  spec.width = spec.height = 8;
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  for (const std::string& file :
       {test_files::Jpeg(), test_files::Png(), test_files::CmykJpeg(), test_files::ProgressiveJpeg()}) {
    for (const size_t part : {40, 50, 60, 70}) {
      const std::string cut = file.substr(0, file.size() * part / 100);
      CHECK(DecodeReason(decoder->Prepare(cut, spec, out.data())) == Reason::kCorruptImage);
    }
  }
}

TEST_CASE("An error of memory has a reason of its own") {
  const absl::Status status = NoHostMemory();
  CHECK(DecodeReason(status) == Reason::kHostMemory);
  CHECK(absl::IsResourceExhausted(status));
}

}  // namespace
}  // namespace embedd
