// SPDX-License-Identifier: Apache-2.0
//
// --decode fast: what JPEG files lose when they are shrunk while they are decoded.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <vector>

// jpeglib.h needs size_t and FILE before it.
// clang-format off
#include <jpeglib.h>
// clang-format on

#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/geometry.h"
#include "server/prepare/image/preprocess.h"
#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

// Waves of every direction whose height falls with their frequency, as in photographs; three colours.
std::vector<uint8_t> Photo(int width, int height) {
  std::vector<uint8_t> rgb(size_t{3} * width * height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        double value = 128;
        for (int octave = 0; octave < 9; ++octave) {
          const double waves = 2.3 * std::pow(1.9, octave), turn = 0.7 * octave + c;
          const double along = x * std::cos(turn) + y * std::sin(turn);
          value += 45 * std::pow(1.9, -octave) *
                   std::sin(2 * std::numbers::pi * waves * along / std::max(width, height) + c);
        }
        rgb[3 * (size_t{1} * y * width + x) + c] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
      }
    }
  }
  return rgb;
}

std::string EncodeJpeg(std::vector<uint8_t> rgb, int width, int height) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<unsigned>(width);
  info.image_height = static_cast<unsigned>(height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = rgb.data() + size_t{3} * width * info.next_scanline;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string file(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return file;
}

// A small model, so that pictures many times its size are quickly drawn.
ImageSpec Small(DecodeMode decode) {
  ImageSpec spec;
  spec.width = spec.height = 64;
  spec.decode = decode;
  return spec;
}

std::unique_ptr<FileDecoder> MakeDecoder() {
  absl::StatusOr<std::unique_ptr<FileDecoder>> decoder = FileDecoder::Create({});
  REQUIRE(decoder.ok());
  return *std::move(decoder);
}

std::vector<uint8_t> Prepared(const ImageDecoder& decoder, absl::string_view file, const ImageSpec& spec) {
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  REQUIRE(decoder.Prepare(file, spec, out.data()).ok());
  return out;
}

TEST_CASE("A large JPEG is decoded to no less than twice what the resize keeps, and to less than the whole") {
  const auto decoder = MakeDecoder();
  const ImageSpec spec = Small(DecodeMode::kFast);
  struct Case {
    int width, height, shrink;
  };
  for (const Case c : {Case{400, 256, 2}, Case{255, 400, 1}, Case{257, 401, 2}, Case{513, 521, 4},
                       Case{1100, 1025, 8}, Case{200, 150, 1}, Case{260, 1100, 2}}) {
    CAPTURE(c.width, c.height);
    REQUIRE(ShrinkFor(c.width, c.height, spec) == c.shrink);
    const PictureSize size{c.width, c.height, c.shrink};
    const Geometry g = ComputeGeometry(c.width, c.height, spec);
    if (c.shrink > 1) {
      CHECK(size.columns() >= 2 * g.resized_width);
      CHECK(size.rows() >= 2 * g.resized_height);
    }
    const std::string file = EncodeJpeg(Photo(c.width, c.height), c.width, c.height);
    std::vector<uint8_t> rgb(size_t{3} * size.columns() * size.rows());
    RowTarget rows(rgb.data(), size.columns());
    REQUIRE(DecodeJpeg(file, *ReadImageHeader(file), &rows, {.shrink = c.shrink}).ok());
    std::vector<uint8_t> want(static_cast<size_t>(spec.bytes()));
    Preprocess(rgb.data(), size, spec, want.data());
    CHECK(Prepared(*decoder, file, spec) == want);
  }
}

TEST_CASE("Its pixels differ from the exact ones, by at most five grey levels on a photograph") {
  const auto decoder = MakeDecoder();
  for (const auto& [width, height] :
       {std::pair{401, 257}, std::pair{257, 500}, std::pair{601, 515}, std::pair{1101, 1027}}) {
    const std::string file = EncodeJpeg(Photo(width, height), width, height);
    const std::vector<uint8_t> exact = Prepared(*decoder, file, Small(DecodeMode::kExact));
    const std::vector<uint8_t> fast = Prepared(*decoder, file, Small(DecodeMode::kFast));
    int largest = 0;
    double sum = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      const int difference = std::abs(exact[i] - fast[i]);
      largest = std::max(largest, difference);
      sum += difference;
    }
    const double mean = sum / static_cast<double>(exact.size());
    INFO(width << "x" << height << ": largest " << largest << ", mean " << mean);
    CHECK(largest >= 1);
    CHECK(largest <= 5);
    CHECK(mean < 1);
  }
}

TEST_CASE("Small files and other formats come out as from the exact decoder") {
  const auto decoder = MakeDecoder();
  ImageSpec exact, fast;
  fast.decode = DecodeMode::kFast;
  for (const std::string& file : test_files::All())
    CHECK(Prepared(*decoder, file, fast) == Prepared(*decoder, file, exact));
}

TEST_CASE("Limits and cut-off files are errors as with the exact decoder") {
  const auto decoder = MakeDecoder();
  const std::string file = EncodeJpeg(Photo(400, 300), 400, 300);
  const ImageSpec spec = Small(DecodeMode::kFast);
  std::vector<uint8_t> out(static_cast<size_t>(spec.bytes()));
  CHECK(DecodeReason(decoder->Prepare(file.substr(0, file.size() / 2), spec, out.data())) ==
        Reason::kCorruptImage);
  ImageDecoder::Limits limits;
  limits.max_pixels = 400 * 300 - 1;
  const auto strict = FileDecoder::Create(limits);
  REQUIRE(strict.ok());
  CHECK(DecodeReason((*strict)->Prepare(file, spec, out.data())) == Reason::kImageTooLarge);
}

}  // namespace
}  // namespace embedd
