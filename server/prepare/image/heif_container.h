// SPDX-License-Identifier: Apache-2.0
//
// HeifFile: the boxes of an AVIF or HEIC file, as far as its primary picture needs them: size, colour, coded
// data, tiles of a grid. Called by ReadImageHeader and by the decoders of both formats. Decodes no pixel;
// every offset and length is checked, and nothing is allocated by what the file claims. Views point into the
// file.
//
// Own code: libavif and libheif bring encoders and, with libheif, a GPL library along, and both allocate by
// the claims of a file before a caller can look at them.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/prepare/image/image_format.h"

namespace embedd {

// How samples become RGB: code points of ITU-T H.273; -1 where the container does not say.
struct HeifColor {
  int primaries = -1;
  int matrix = -1;
  int full_range = -1;
};

struct HeifItem {
  std::string type;               // "av01", "hvc1", "grid"
  int64_t width = 0, height = 0;  // of ispe; 0 where it is missing
  HeifColor color;
  absl::string_view config;     // av1C or hvcC
  std::vector<uint32_t> tiles;  // of a grid, row by row
  bool is_alpha = false;
  uint32_t alpha = 0;          // the item that holds its alpha; 0: none
  uint32_t multiplied_by = 0;  // the alpha by which its colours are multiplied; 0: they are not
  bool in_idat = false;
  std::vector<std::pair<uint64_t, uint64_t>> extents;  // offset and length; length 0 = to the end
};

// Of an item: one tile where it is no grid.
struct HeifGrid {
  int rows = 1, columns = 1;
  int64_t width = 0, height = 0;
};

class HeifFile {
 public:
  // Errors: CORRUPT_IMAGE, UNSUPPORTED_FORMAT.
  static absl::StatusOr<HeifFile> Parse(absl::string_view file, ImageFormat format);

  const HeifItem& primary() const { return items_.at(primary_); }
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  // CORRUPT_IMAGE when tiles are missing.
  absl::StatusOr<HeifGrid> GridOf(const HeifItem& item) const;
  // Null when there is none of this number.
  const HeifItem* Find(uint32_t id) const;
  // The coded bytes; `joined` holds them where they lie in several places. CORRUPT_IMAGE when some are
  // missing.
  absl::StatusOr<absl::string_view> Bytes(const HeifItem& item, std::string* joined) const;

 private:
  class Reader;

  absl::string_view file_;
  ImageFormat format_ = ImageFormat::kAvif;
  absl::string_view idat_;
  std::map<uint32_t, HeifItem> items_;
  uint32_t primary_ = 0;
  int64_t width_ = 0, height_ = 0;
};

}  // namespace embedd
