// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/avif_decoder.h"

#include <dav1d/dav1d.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/heif_container.h"
#include "server/prepare/image/heif_grid.h"
#include "server/prepare/image/yuv_to_rgb.h"

namespace embedd {
namespace {

constexpr absl::string_view kDamaged = "the image data is damaged or cut short";

absl::Status Corrupt(absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat("AVIF: ", what));
}

// Closes itself; owns the last picture.
class Frame {
 public:
  Frame() = default;
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() {
    if (has_picture_) dav1d_picture_unref(&picture_);
    if (context_ != nullptr) dav1d_close(&context_);
  }

  absl::Status Decode(absl::string_view data, int64_t max_pixels) {
    Dav1dSettings settings;
    dav1d_default_settings(&settings);
    settings.n_threads = 1;
    settings.max_frame_delay = 1;
    settings.all_layers = 0;
    settings.frame_size_limit = static_cast<unsigned>(std::min<int64_t>(max_pixels, 0x7FFFFFFF));
    settings.logger.callback = nullptr;
    if (const int error = dav1d_open(&context_, &settings); error != 0) return Error(error);
    Dav1dData input = {};
    // dav1d reads the bytes and never writes them.
    const int wrapped = dav1d_data_wrap(
        &input, reinterpret_cast<const uint8_t*>(data.data()), data.size(), [](const uint8_t*, void*) {},
        nullptr);
    if (wrapped != 0) return Error(wrapped);
    absl::Status status = Pull(&input);
    if (input.sz > 0) dav1d_data_unref(&input);
    return status;
  }

  const Dav1dPicture& picture() const { return picture_; }

 private:
  absl::Status Pull(Dav1dData* input) {
    while (true) {
      if (input->sz > 0) {
        const int sent = dav1d_send_data(context_, input);
        if (sent != 0 && sent != DAV1D_ERR(EAGAIN)) return Error(sent);
      }
      const int got = dav1d_get_picture(context_, &picture_);
      if (got == 0) {
        has_picture_ = true;
        return absl::OkStatus();
      }
      if (got != DAV1D_ERR(EAGAIN)) return Error(got);
      if (input->sz == 0) return Corrupt(kDamaged);
    }
  }

  static absl::Status Error(int error) {
    if (error == DAV1D_ERR(ENOMEM)) return NoHostMemory();
    if (error == DAV1D_ERR(ERANGE)) {
      return DecodeError(Reason::kImageTooLarge,
                         "AVIF: a coded frame has more pixels than this server takes (--max-pixels)");
    }
    return Corrupt(kDamaged);
  }

  Dav1dContext* context_ = nullptr;
  Dav1dPicture picture_ = {};
  bool has_picture_ = false;
};

absl::StatusOr<YuvPlanes> PlanesOf(const Dav1dPicture& picture, const HeifItem& item) {
  const HeifColor& color = item.color;
  YuvPlanes yuv;
  yuv.width = picture.p.w;
  yuv.height = picture.p.h;
  yuv.bits = picture.p.bpc;
  if (item.alpha != 0) yuv.rules = YuvPlanes::Rules::kAvifWithAlpha;
  const bool grey = picture.p.layout == DAV1D_PIXEL_LAYOUT_I400;
  for (int i = 0; i < (grey ? 1 : 3); ++i) {
    yuv.plane[i] = static_cast<const uint8_t*>(picture.data[i]);
    yuv.stride[i] = picture.stride[i == 0 ? 0 : 1];
  }
  yuv.chroma_shift_x = picture.p.layout == DAV1D_PIXEL_LAYOUT_I444 ? 0 : 1;
  yuv.chroma_shift_y = picture.p.layout == DAV1D_PIXEL_LAYOUT_I420 ? 1 : 0;
  // What the container says comes before what the frame says.
  yuv.matrix = color.matrix >= 0 ? color.matrix : static_cast<int>(picture.seq_hdr->mtrx);
  yuv.primaries = color.primaries >= 0 ? color.primaries : static_cast<int>(picture.seq_hdr->pri);
  yuv.full_range = color.full_range >= 0 ? color.full_range != 0 : picture.seq_hdr->color_range != 0;
  if (!YuvMatrixKnown(yuv.matrix) || (yuv.matrix == 0 && !grey && yuv.chroma_shift_x != 0)) {
    return DecodeError(Reason::kUnsupportedFormat, "AVIF: colours of this kind are not supported");
  }
  return yuv;
}

}  // namespace

absl::Status DecodeAvif(absl::string_view file, const ImageHeader& header, int64_t max_pixels, uint8_t* rgb) {
  const absl::StatusOr<HeifFile> heif = HeifFile::Parse(file, ImageFormat::kAvif);
  if (!heif.ok()) return heif.status();
  return PaintHeif(*heif, header, rgb,
                   [&](absl::string_view data, const HeifItem& item, const HeifTile& tile) -> absl::Status {
                     Frame frame;
                     if (absl::Status status = frame.Decode(data, max_pixels); !status.ok()) return status;
                     const absl::StatusOr<YuvPlanes> yuv = PlanesOf(frame.picture(), item);
                     if (!yuv.ok()) return yuv.status();
                     return PlaceHeifTile(*yuv, tile);
                   });
}

std::string Dav1dVersion() { return dav1d_version(); }

}  // namespace embedd
