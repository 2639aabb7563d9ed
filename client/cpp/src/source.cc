// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/src/source.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/src/file.h"
#include "client/cpp/src/split.h"

namespace embedd::client::internal {
namespace {

InputError Invalid(size_t i, std::string reason, std::string message) {
  return {i, absl::StatusCode::kInvalidArgument, std::move(reason), std::move(message)};
}

// The largest image file worth sending. The server would refuse a larger one, after it has crossed the
// network.
uint64_t LargestFile(const ServerInfo::Limits& limits) {
  uint64_t largest =
      std::numeric_limits<int32_t>::max() - kInputOverhead - kMessageOverhead;  // protobuf's own
  if (limits.max_image_bytes > 0) largest = std::min(largest, limits.max_image_bytes);
  if (limits.max_message_bytes > kInputOverhead + kMessageOverhead) {
    largest = std::min(largest, limits.max_message_bytes - kInputOverhead - kMessageOverhead);
  }
  return largest;
}

std::optional<InputError> CheckFile(size_t i, uint64_t bytes, uint64_t largest) {
  if (bytes == 0) return Invalid(i, "CORRUPT_IMAGE", "the image is empty (0 bytes)");
  if (bytes <= largest) return std::nullopt;
  return Invalid(i, "IMAGE_TOO_LARGE",
                 absl::StrCat("the image has ", bytes, " bytes; the server takes ", largest,
                              ". Make it smaller, or raise --max-image-bytes of the server"));
}

class Files final : public Source {
 public:
  Files(std::span<const std::string> paths, uint64_t largest) : paths_(paths), largest_(largest) {}

  std::vector<size_t> Bytes() const override {
    std::vector<size_t> bytes(paths_.size());
    for (size_t i = 0; i < paths_.size(); ++i) {
      const auto size = FileBytes(paths_[i]).value_or(0);
      if (size <= largest_) bytes[i] = static_cast<size_t>(size);
    }
    return bytes;
  }

  std::optional<InputError> Fill(size_t i, v1::Input* input) const override {
    const auto size = FileBytes(paths_[i]);
    if (size.ok()) {
      if (auto error = CheckFile(i, *size, largest_)) return error;
    }
    auto content = ReadFile(paths_[i], largest_);
    if (!content.ok()) {
      return InputError{i, content.status().code(), "UNREADABLE_FILE",
                        std::string(content.status().message())};
    }
    input->set_image(*std::move(content));
    return std::nullopt;
  }

 private:
  const std::span<const std::string> paths_;
  const uint64_t largest_;
};

class Images final : public Source {
 public:
  Images(std::span<const ImageRef> images, const ServerInfo::Limits& limits)
      : images_(images),
        largest_(LargestFile(limits)),
        largest_raw_(LargestFile({limits.max_message_bytes})) {}

  std::vector<size_t> Bytes() const override {
    std::vector<size_t> bytes(images_.size());
    for (size_t i = 0; i < images_.size(); ++i) {
      if (!Check(i)) bytes[i] = images_[i].bytes.size();
    }
    return bytes;
  }

  std::optional<InputError> Fill(size_t i, v1::Input* input) const override {
    if (auto error = Check(i)) return error;
    const ImageRef& image = images_[i];
    if (image.raw) {
      auto* raw = input->mutable_raw_image();
      raw->set_width(image.width);
      raw->set_height(image.height);
      raw->set_rgb(image.bytes.data(), image.bytes.size());
    } else {
      input->set_image(image.bytes.data(), image.bytes.size());
    }
    return std::nullopt;
  }

 private:
  std::optional<InputError> Check(size_t i) const {
    const ImageRef& image = images_[i];
    if (!image.raw) return CheckFile(i, image.bytes.size(), largest_);
    constexpr uint64_t kMaxSide = uint64_t{1} << 24;  // of the API; keeps the product below from overflowing
    const uint64_t width = image.width, height = image.height;
    const bool sides = width >= 1 && height >= 1 && width <= kMaxSide && height <= kMaxSide;
    if (!sides || image.bytes.size() != 3 * width * height) {
      return Invalid(i, "CORRUPT_IMAGE",
                     absl::StrCat("raw pixels of ", width, "x", height, " are 3 * width * height = ",
                                  sides ? 3 * width * height : 0, " bytes, not ", image.bytes.size()));
    }
    if (image.bytes.size() > largest_raw_) {
      return Invalid(i, "IMAGE_TOO_LARGE",
                     absl::StrCat("the raw image has ", image.bytes.size(), " bytes; a message takes ",
                                  largest_raw_, ". Send it as a file, or make it smaller"));
    }
    return std::nullopt;
  }

  const std::span<const ImageRef> images_;
  const uint64_t largest_;
  const uint64_t largest_raw_;
};

// As protobuf checks it: no overlong forms, no surrogates, at most U+10FFFF. A server would refuse the whole
// request.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t k) { return i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0U; };
    const auto lead = at(0);
    const size_t length = lead < 0x80       ? 1
                          : lead >> 5 == 6  ? 2
                          : lead >> 4 == 14 ? 3
                          : lead >> 3 == 30 ? 4
                                            : 0;
    if (length == 0) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7fU >> length);
    for (size_t k = 1; k < length; ++k) {
      if (at(k) >> 6 != 2) return false;
      code = code << 6 | (at(k) & 0x3f);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
    i += length;
  }
  return true;
}

class Texts final : public Source {
 public:
  Texts(std::span<const std::string> texts, uint64_t largest) : texts_(texts), largest_(largest) {}

  bool texts() const override { return true; }

  std::vector<size_t> Bytes() const override {
    std::vector<size_t> bytes;
    for (const auto& text : texts_) bytes.push_back(text.size() <= largest_ ? text.size() : 0);
    return bytes;
  }

  std::optional<InputError> Fill(size_t i, v1::Input* input) const override {
    if (texts_[i].size() > largest_) {
      return Invalid(i, "TEXT_TOO_LARGE",
                     absl::StrCat("the text has ", texts_[i].size(), " bytes; a message takes ", largest_));
    }
    if (!IsUtf8(texts_[i])) return Invalid(i, "INVALID_TEXT", "the text is not UTF-8");
    input->set_text(texts_[i]);
    return std::nullopt;
  }

 private:
  const std::span<const std::string> texts_;
  const uint64_t largest_;
};

}  // namespace

std::unique_ptr<Source> FileSource(std::span<const std::string> paths, const ServerInfo::Limits& limits) {
  return std::make_unique<Files>(paths, LargestFile(limits));
}
std::unique_ptr<Source> ImageSource(std::span<const ImageRef> images, const ServerInfo::Limits& limits) {
  return std::make_unique<Images>(images, limits);
}
std::unique_ptr<Source> TextSource(std::span<const std::string> texts, const ServerInfo::Limits& limits) {
  return std::make_unique<Texts>(texts, LargestFile({limits.max_message_bytes}));
}

}  // namespace embedd::client::internal
