// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/file_decoder.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/unit/prepare/image/test_files.h"

namespace embedd {
namespace {

std::unique_ptr<FileDecoder> MakeDecoder(ImageDecoder::Limits limits = {}) {
  absl::StatusOr<std::unique_ptr<FileDecoder>> decoder = FileDecoder::Create(limits);
  REQUIRE(decoder.ok());
  return *std::move(decoder);
}

TEST_CASE("Files cut off anywhere in their pixels are corrupt, whichever library decodes") {
  const auto decoder = MakeDecoder();
  for (const std::string& file : test_files::All()) {
    if (file == test_files::AnimatedWebp()) continue;  // its first frame ends long before the file
    for (size_t length = 12; length + 24 < file.size(); ++length) {
      CAPTURE(file.size(), length);
      CHECK(DecodeReason(decoder->Decode(file.substr(0, length)).status()) == Reason::kCorruptImage);
    }
  }
}

TEST_CASE("Damaged bytes give an error with a reason or an image") {
  const auto decoder = MakeDecoder();
  std::mt19937 random(2);
  for (const std::string& whole : test_files::All()) {
    for (int round = 0; round < 200; ++round) {
      std::string file = whole;
      for (int i = 0; i < 3; ++i) file[random() % file.size()] = static_cast<char>(random());
      const absl::StatusOr<RgbImage> image = decoder->Decode(file);
      if (!image.ok()) CHECK(DecodeReason(image.status()) != Reason::kNone);
    }
  }
}

TEST_CASE("Limits and formats are checked before any library sees the file") {
  ImageDecoder::Limits limits;
  limits.max_pixels = 21 * 13 - 1;
  CHECK(DecodeReason(MakeDecoder(limits)->Decode(test_files::Jpeg()).status()) == Reason::kImageTooLarge);
  CHECK(DecodeReason(MakeDecoder(limits)->Decode(test_files::LossyWebp()).status()) ==
        Reason::kImageTooLarge);
  limits.max_image_bytes = 30;
  CHECK(DecodeReason(MakeDecoder(limits)->Decode(test_files::Png()).status()) == Reason::kImageTooLarge);
  limits = {};
  limits.formats = *FormatSet::Parse("-gif");
  CHECK(DecodeReason(MakeDecoder(limits)->Decode(test_files::Gif()).status()) == Reason::kUnsupportedFormat);
}

TEST_CASE("Many threads share one decoder") {
  const auto decoder = MakeDecoder();
  const std::vector<std::string> files = test_files::All();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        const std::string& file = files[(t + i) % files.size()];
        if (!decoder->Decode(file).ok()) ++wrong;
        if (decoder->Decode(file.substr(0, file.size() / 2)).ok()) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace embedd
