// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/heic_decoder.h"

#include <libde265/de265.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/heif_container.h"
#include "server/prepare/image/heif_grid.h"
#include "server/prepare/image/yuv_to_rgb.h"

namespace embedd {
namespace {

constexpr absl::string_view kDamaged = "the image data is damaged or cut short";

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("HEIC: ", what));
}

struct Free {
  void operator()(de265_decoder_context* context) const { de265_free_decoder(context); }
};
using Decoder = std::unique_ptr<de265_decoder_context, Free>;

// The bits of a parameter set, without the bytes that only keep start codes out of it.
class Bits {
 public:
  explicit Bits(absl::string_view nal) {
    int zeros = 0;
    for (const char c : nal) {
      if (zeros >= 2 && c == 3) {
        zeros = 0;
        continue;
      }
      zeros = c == 0 ? zeros + 1 : 0;
      bytes_.push_back(c);
    }
  }
  uint32_t Take(int count) {
    uint32_t value = 0;
    for (; count > 0; --count, ++at_) {
      const uint32_t bit = at_ / 8 < bytes_.size() ? Byte(bytes_, at_ / 8) >> (7 - at_ % 8) & 1 : 0;
      value = value << 1 | bit;
    }
    return value;
  }
  uint32_t TakeExpGolomb() {
    int zeros = 0;
    while (zeros < 31 && at_ / 8 < bytes_.size() && Take(1) == 0) ++zeros;
    return (uint32_t{1} << zeros) - 1 + Take(zeros);
  }
  void Skip(size_t count) { at_ += count; }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

// Pixels of the frames that a sequence parameter set announces.
int64_t AnnouncedPixels(absl::string_view nal) {
  Bits bits(nal);
  bits.Skip(16 + 4);
  const uint32_t sub_layers = bits.Take(3);
  bits.Skip(1 + 96);
  uint32_t profiles = 0, levels = 0;
  for (uint32_t i = 0; i < 8 && sub_layers > 0; ++i) {
    const uint32_t flags = bits.Take(2);
    if (i >= sub_layers) continue;
    profiles += flags >> 1;
    levels += flags & 1;
  }
  bits.Skip(size_t{88} * profiles + size_t{8} * levels);
  bits.TakeExpGolomb();
  if (bits.TakeExpGolomb() == 3) bits.Skip(1);
  const int64_t width = bits.TakeExpGolomb();
  return width * bits.TakeExpGolomb();
}

class Frame {
 public:
  explicit Frame(int64_t max_pixels) : decoder_(de265_new_decoder()), max_pixels_(max_pixels) {}

  absl::Status Decode(absl::string_view config, absl::string_view data) {
    if (decoder_ == nullptr) return NoHostMemory();
    if (absl::Status status = PushConfig(config); !status.ok()) return status;
    while (!data.empty()) {
      if (data.size() < length_bytes_) return Corrupt(kDamaged);
      uint64_t length = 0;
      for (size_t i = 0; i < length_bytes_; ++i) length = length << 8 | Byte(data, i);
      data.remove_prefix(length_bytes_);
      if (length > data.size()) return Corrupt(kDamaged);
      if (absl::Status status = Push(data.substr(0, static_cast<size_t>(length))); !status.ok())
        return status;
      data.remove_prefix(static_cast<size_t>(length));
    }
    de265_flush_data(decoder_.get());
    for (int more = 1; more != 0;) {
      const de265_error error = de265_decode(decoder_.get(), &more);
      if (error == DE265_ERROR_WAITING_FOR_INPUT_DATA) break;
      if (error != DE265_OK) return Error(error);
      if (de265_peek_next_picture(decoder_.get()) != nullptr) break;
    }
    // Pictures with holes come with a warning, not with an error.
    for (de265_error warning = de265_get_warning(decoder_.get()); warning != DE265_OK;
         warning = de265_get_warning(decoder_.get())) {
      if (warning != DE265_WARNING_NO_WPP_CANNOT_USE_MULTITHREADING) return Corrupt(kDamaged);
    }
    image_ = de265_peek_next_picture(decoder_.get());
    return image_ == nullptr ? Corrupt(kDamaged) : absl::OkStatus();
  }

  absl::StatusOr<YuvPlanes> Planes(const HeifColor& color) const {
    YuvPlanes yuv;
    yuv.rules = YuvPlanes::Rules::kHeif;
    yuv.width = de265_get_image_width(image_, 0);
    yuv.height = de265_get_image_height(image_, 0);
    yuv.bits = de265_get_bits_per_pixel(image_, 0);
    const de265_chroma chroma = de265_get_chroma_format(image_);
    for (int i = 0; i < (chroma == de265_chroma_mono ? 1 : 3); ++i) {
      int stride = 0;
      yuv.plane[i] = de265_get_image_plane(image_, i, &stride);
      yuv.stride[i] = stride;
      if (yuv.plane[i] == nullptr || de265_get_bits_per_pixel(image_, i) != yuv.bits)
        return Corrupt(kDamaged);
    }
    yuv.chroma_shift_x = chroma == de265_chroma_444 ? 0 : 1;
    yuv.chroma_shift_y = chroma == de265_chroma_420 ? 1 : 0;
    yuv.matrix = color.matrix >= 0 ? color.matrix : de265_get_image_matrix_coefficients(image_);
    yuv.primaries = color.primaries >= 0 ? color.primaries : de265_get_image_colour_primaries(image_);
    yuv.full_range =
        color.full_range >= 0 ? color.full_range != 0 : de265_get_image_full_range_flag(image_) != 0;
    if (!YuvMatrixKnown(yuv.matrix) ||
        (yuv.matrix == 0 && yuv.plane[1] != nullptr && yuv.chroma_shift_x != 0)) {
      return DecodeError(Reason::kUnsupportedFormat, "HEIC: colours of this kind are not supported");
    }
    return yuv;
  }

 private:
  // hvcC: lists of parameter sets, and how long the lengths in the data are.
  absl::Status PushConfig(absl::string_view config) {
    constexpr size_t kListsAt = 23;
    if (config.size() < kListsAt) return Corrupt("the parameters of its coding are missing");
    length_bytes_ = (Byte(config, 21) & 3) + 1;
    const uint32_t lists = Byte(config, 22);
    size_t at = kListsAt;
    for (uint32_t list = 0; list < lists; ++list) {
      if (config.size() - at < 3) return Corrupt(kDamaged);
      const uint32_t count = Big16(config, at + 1);
      at += 3;
      for (uint32_t i = 0; i < count; ++i) {
        if (config.size() - at < 2) return Corrupt(kDamaged);
        const size_t length = Big16(config, at);
        at += 2;
        if (config.size() - at < length) return Corrupt(kDamaged);
        if (absl::Status status = Push(config.substr(at, length)); !status.ok()) return status;
        at += length;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Push(absl::string_view nal) {
    if (nal.size() < 2) return absl::OkStatus();
    constexpr uint32_t kSequenceParameters = 33;
    if ((Byte(nal, 0) >> 1 & 63) == kSequenceParameters && AnnouncedPixels(nal) > max_pixels_) {
      return DecodeError(Reason::kImageTooLarge,
                         "HEIC: a coded frame has more pixels than this server takes (--max-pixels)");
    }
    const de265_error error =
        de265_push_NAL(decoder_.get(), nal.data(), static_cast<int>(nal.size()), 0, nullptr);
    return error == DE265_OK ? absl::OkStatus() : Error(error);
  }

  static absl::Status Error(de265_error error) {
    if (error == DE265_ERROR_OUT_OF_MEMORY || error == DE265_ERROR_IMAGE_BUFFER_FULL) return NoHostMemory();
    return Corrupt(kDamaged);
  }

  const Decoder decoder_;
  const int64_t max_pixels_;
  size_t length_bytes_ = 4;
  const de265_image* image_ = nullptr;
};

}  // namespace

absl::Status DecodeHeic(absl::string_view file, const ImageHeader& header, int64_t max_pixels, uint8_t* rgb) {
  const absl::StatusOr<HeifFile> heif = HeifFile::Parse(file, ImageFormat::kHeic);
  if (!heif.ok()) return heif.status();
  // A frame may be a little larger than the picture: its sides are whole blocks.
  const int64_t most = max_pixels + max_pixels / 4 + 65536;
  return PaintHeif(*heif, header, rgb,
                   [&](absl::string_view data, const HeifItem& item, const HeifTile& tile) -> absl::Status {
                     Frame frame(most);
                     if (absl::Status status = frame.Decode(item.config, data); !status.ok()) return status;
                     const absl::StatusOr<YuvPlanes> yuv = frame.Planes(item.color);
                     if (!yuv.ok()) return yuv.status();
                     return PlaceHeifTile(*yuv, tile);
                   });
}

std::string De265Version() { return de265_get_version(); }

}  // namespace embedd
