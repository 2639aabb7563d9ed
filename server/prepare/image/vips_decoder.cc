// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/vips_decoder.h"

#include <vips/vips.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/prepare/image/image_header.h"
#include "server/prepare/image/pixel_rules.h"

namespace embedd {
namespace {

struct Unref {
  void operator()(void* object) const { g_object_unref(object); }
};
using Image = std::unique_ptr<VipsImage, Unref>;
using Region = std::unique_ptr<VipsRegion, Unref>;

constexpr struct {
  ImageFormat format;
  const char* family;  // the class whose loaders stay unblocked
  const char* loader;  // the one that reads from memory
} kLoaders[] = {
    {ImageFormat::kJpeg, "VipsForeignLoadJpeg", "VipsForeignLoadJpegBuffer"},
    {ImageFormat::kPng, "VipsForeignLoadPng", "VipsForeignLoadPngBuffer"},
    {ImageFormat::kWebp, "VipsForeignLoadWebp", "VipsForeignLoadWebpBuffer"},
};

// libvips keeps buffers per thread and wants to hear of a thread's end.
struct ThreadEnd {
  ~ThreadEnd() { vips_thread_shutdown(); }
};

// The text belongs to the whole process: with several threads failing at once it may hold the words of
// another image. So it only ever decorates a message and decides nothing.
std::string TakeErrorText() {
  char* text = vips_error_buffer_copy();
  std::string line(text == nullptr ? "" : text);
  g_free(text);
  absl::StrReplaceAll({{"\n", "; "}}, &line);
  line = std::string(absl::StripAsciiWhitespace(line));
  while (!line.empty() && line.back() == ';') line.pop_back();
  constexpr size_t kLongest = 200;
  if (line.size() > kLongest) line.resize(kLongest);
  return line;
}

absl::Status Corrupt(ImageFormat format, absl::string_view what) {
  const std::string text = TakeErrorText();
  return DecodeError(Reason::kCorruptImage,
                     absl::StrCat(ImageFormatName(format), ": ", what, text.empty() ? "" : " (", text,
                                  text.empty() ? "" : ")"));
}

// Warnings of hostile files would fill the log: errors come back as statuses, the rest is of no use to
// anybody.
void DropLog(const gchar*, GLogLevelFlags, const gchar*, gpointer) {}

absl::Status StartVips() {
  if (vips_init("embedd") != 0)
    return absl::InternalError(absl::StrCat("libvips does not start: ", TakeErrorText()));
  g_log_set_handler("VIPS",
                    static_cast<GLogLevelFlags>(G_LOG_LEVEL_WARNING | G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG),
                    DropLog, nullptr);
  vips_concurrency_set(1);
  vips_cache_set_max(0);
  vips_cache_set_max_mem(0);
  vips_cache_set_max_files(0);
  vips_block_untrusted_set(TRUE);
  vips_operation_block_set("VipsForeignLoad", TRUE);
  for (const auto& loader : kLoaders) {
    vips_operation_block_set(loader.family, FALSE);
    if (vips_type_find("VipsForeignLoad", loader.loader) == 0) {
      return absl::InternalError(
          absl::StrCat("this libvips has no loader for ", ImageFormatName(loader.format)));
    }
  }
  return absl::OkStatus();
}

const char* LoaderFor(ImageFormat format) {
  for (const auto& loader : kLoaders) {
    if (loader.format == format) return loader.loader;
  }
  return "";
}

std::optional<PixelRule> RuleFor(VipsImage* image, const ImageHeader& header) {
  const int bands = vips_image_get_bands(image);
  if (vips_image_get_format(image) == VIPS_FORMAT_UCHAR) {
    if (bands == 1) return PixelRule::kGray8;
    if (bands == 2) return PixelRule::kGrayA8;
    if (bands == 3) return PixelRule::kRgb8;
    if (bands == 4) return header.format == ImageFormat::kJpeg ? PixelRule::kCmyk8 : PixelRule::kRgba8;
  }
  if (vips_image_get_format(image) == VIPS_FORMAT_USHORT && header.format == ImageFormat::kPng) {
    constexpr int kGreyWithAlpha = 4;
    if (bands == 1) return PixelRule::kGray16;
    if (bands == 2) return header.png_color == kGreyWithAlpha ? PixelRule::kGrayA16 : PixelRule::kGray16Key;
    if (bands == 3) return PixelRule::kRgb16;
    if (bands == 4) return PixelRule::kRgba16;
  }
  return std::nullopt;
}

// Pulls the pixels strip by strip on this thread. vips_image_write_to_memory would hand the work to a thread
// of libvips' own pool and wait for it, and would need a second copy of the image for the colour rules.
bool Pull(VipsImage* image, PixelRule rule, uint8_t* out) {
  constexpr int kStrip = 64;
  const Region region(vips_region_new(image));
  if (region == nullptr) return false;
  VipsRect rect = {0, 0, image->Xsize, 0};
  for (; rect.top < image->Ysize; rect.top += rect.height) {
    rect.height = std::min(kStrip, image->Ysize - rect.top);
    if (vips_region_prepare(region.get(), &rect) != 0) return false;
    for (int y = rect.top; y < rect.top + rect.height; ++y) {
      ToRgb(rule, VIPS_REGION_ADDR(region.get(), 0, y), image->Xsize, out + int64_t{3} * y * image->Xsize);
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VipsDecoder>> VipsDecoder::Create(const Limits& limits) {
  static const absl::Status& started = *new absl::Status(StartVips());
  if (!started.ok()) return started;
  return std::unique_ptr<VipsDecoder>(new VipsDecoder(limits));
}

std::string VipsDecoder::LibraryVersion() {
  return absl::StrCat(vips_version(0), ".", vips_version(1), ".", vips_version(2));
}

absl::StatusOr<RgbImage> VipsDecoder::Decode(absl::string_view file) const {
  const absl::StatusOr<ImageHeader> header = ReadHeaderWithin(file, limits_);
  if (!header.ok()) return header.status();
  if (header->format == ImageFormat::kJpeg && (header->bits != 8 || header->lossless)) {
    return DecodeError(Reason::kUnsupportedFormat,
                       "this is a lossless JPEG or one of more than 8 bits; send an ordinary one");
  }

  thread_local const ThreadEnd thread_end;
  (void)thread_end;
  const char* loader = vips_foreign_find_load_buffer(file.data(), file.size());
  if (loader == nullptr || absl::string_view(loader) != LoaderFor(header->format)) {
    return Corrupt(header->format, "libvips does not take it for one");
  }
  const Image image(vips_image_new_from_buffer(file.data(), file.size(), "", "access", VIPS_ACCESS_SEQUENTIAL,
                                               "fail_on", VIPS_FAIL_ON_ERROR, nullptr));
  if (image == nullptr) return Corrupt(header->format, "the header cannot be read");
  if (image->Xsize != header->width || image->Ysize != header->height) {
    return Corrupt(header->format, "the header contradicts itself about the size");
  }
  const std::optional<PixelRule> rule = RuleFor(image.get(), *header);
  if (!rule) {
    return DecodeError(Reason::kUnsupportedFormat,
                       absl::StrCat(ImageFormatName(header->format), " with ", image->Bands,
                                    " channels of this kind is not supported; send RGB or grey"));
  }

  absl::StatusOr<RgbImage> result = AllocateImage(*header);
  if (!result.ok()) return result;
  if (!Pull(image.get(), *rule, result->rgb.get()))
    return Corrupt(header->format, "the image data is damaged or cut short");
  return result;
}

}  // namespace embedd
