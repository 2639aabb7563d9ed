// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/heif_container.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/prepare/image/byte_order.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {
namespace {

absl::Status Corrupt(ImageFormat format, absl::string_view what) {
  return DecodeError(Reason::kCorruptImage, absl::StrCat(ImageFormatName(format), ": ", what));
}

struct Box {
  absl::string_view type;
  absl::string_view body;
};

// Takes the next box off the front of `*rest`. A box that claims more than there is gets what there is:
// whether pixels are missing shows where their bytes are looked up.
std::optional<Box> NextBox(absl::string_view* rest) {
  if (rest->size() < 8) return std::nullopt;
  uint64_t size = Big32(*rest, 0);
  size_t head = 8;
  if (size == 1) {
    if (rest->size() < 16) return std::nullopt;
    size = Big64(*rest, 8);
    head = 16;
  } else if (size == 0) {
    size = rest->size();
  }
  if (size < head) return std::nullopt;
  const size_t taken = static_cast<size_t>(std::min<uint64_t>(size, rest->size()));
  const Box box{rest->substr(4, 4), rest->substr(head, taken - head)};
  rest->remove_prefix(taken);
  return box;
}

// Numbers from front to back; once they run out, every further one is 0 and ok() is false.
class Cursor {
 public:
  explicit Cursor(absl::string_view s) : s_(s) {}
  // `bytes` of 0 gives 0.
  uint64_t Take(size_t bytes) {
    if (bytes > s_.size()) {
      ok_ = false;
      s_ = {};
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | Byte(s_, i);
    s_.remove_prefix(bytes);
    return value;
  }
  absl::string_view rest() const { return s_; }
  bool ok() const { return ok_; }

 private:
  absl::string_view s_;
  bool ok_ = true;
};

}  // namespace

class HeifFile::Reader {
 public:
  explicit Reader(HeifFile* file) : file_(*file) {}

  bool ReadMeta(absl::string_view meta) {
    if (meta.size() < 4) return false;
    meta.remove_prefix(4);
    absl::string_view properties, references;
    bool located = false;
    while (const std::optional<Box> box = NextBox(&meta)) {
      if (box->type == "pitm") {
        Cursor c(box->body);
        const uint64_t version = c.Take(4) >> 24;
        file_.primary_ = static_cast<uint32_t>(c.Take(version == 0 ? 2 : 4));
      } else if (box->type == "iinf") {
        ReadItems(box->body);
      } else if (box->type == "iloc") {
        located = ReadLocations(box->body);
      } else if (box->type == "iprp") {
        properties = box->body;
      } else if (box->type == "iref") {
        references = box->body;
      } else if (box->type == "idat") {
        file_.idat_ = box->body;
      }
    }
    ReadProperties(properties);
    ReadReferences(references);
    return located;
  }

 private:
  void ReadItems(absl::string_view s) {
    Cursor head(s);
    const uint64_t version = head.Take(4) >> 24;
    head.Take(version == 0 ? 2 : 4);
    absl::string_view rest = head.rest();
    while (const std::optional<Box> box = NextBox(&rest)) {
      Cursor c(box->body);
      const uint64_t entry = c.Take(4) >> 24;
      if (box->type != "infe" || entry < 2) continue;
      const auto id = static_cast<uint32_t>(c.Take(entry == 2 ? 2 : 4));
      c.Take(2);
      if (c.rest().size() >= 4) file_.items_[id].type = std::string(c.rest().substr(0, 4));
    }
  }

  bool ReadLocations(absl::string_view s) {
    Cursor c(s);
    const uint64_t version = c.Take(4) >> 24;
    const uint64_t sizes = c.Take(2);
    const size_t offset_size = sizes >> 12 & 15, length_size = sizes >> 8 & 15, base_size = sizes >> 4 & 15;
    const size_t index_size = version == 0 ? 0 : sizes & 15;
    if (version > 2 || std::max({offset_size, length_size, base_size, index_size}) > 8) return false;
    const uint64_t count = c.Take(version < 2 ? 2 : 4);
    for (uint64_t i = 0; i < count && c.ok(); ++i) {
      const auto id = static_cast<uint32_t>(c.Take(version < 2 ? 2 : 4));
      const uint64_t method = version == 0 ? 0 : c.Take(2) & 15;
      c.Take(2);
      const uint64_t base = c.Take(base_size);
      const uint64_t extents = c.Take(2);
      HeifItem& item = file_.items_[id];
      item.in_idat = method == 1;
      item.extents.clear();
      for (uint64_t e = 0; e < extents && c.ok(); ++e) {
        c.Take(index_size);
        const uint64_t offset = c.Take(offset_size);
        item.extents.emplace_back(base + offset, c.Take(length_size));
      }
      if (method > 1) item.extents.clear();
    }
    return c.ok();
  }

  void ReadProperties(absl::string_view s) {
    std::vector<Box> all;
    while (const std::optional<Box> box = NextBox(&s)) {
      if (box->type == "ipco") {
        absl::string_view rest = box->body;
        while (const std::optional<Box> property = NextBox(&rest)) all.push_back(*property);
      } else if (box->type == "ipma") {
        Associate(box->body, all);
      }
    }
  }

  void Associate(absl::string_view s, const std::vector<Box>& all) {
    Cursor c(s);
    const uint64_t head = c.Take(4);
    const bool wide = (head & 1) != 0;
    const uint64_t count = c.Take(4);
    for (uint64_t i = 0; i < count && c.ok(); ++i) {
      const auto id = static_cast<uint32_t>(c.Take(head >> 24 == 0 ? 2 : 4));
      const uint64_t properties = c.Take(1);
      const auto item = file_.items_.find(id);
      for (uint64_t p = 0; p < properties && c.ok(); ++p) {
        const uint64_t index = c.Take(wide ? 2 : 1) & (wide ? 0x7FFF : 0x7F);
        if (index < 1 || index > all.size() || item == file_.items_.end()) continue;
        Apply(all[index - 1], &item->second);
      }
    }
  }

  static void Apply(const Box& property, HeifItem* item) {
    Cursor c(property.body);
    if (property.type == "ispe") {
      c.Take(4);
      item->width = static_cast<int64_t>(c.Take(4));
      item->height = static_cast<int64_t>(c.Take(4));
    } else if (property.type == "av1C" || property.type == "hvcC") {
      item->config = property.body;
    } else if (property.type == "auxC") {
      c.Take(4);
      item->is_alpha = absl::StartsWith(c.rest(), "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha") ||
                       absl::StartsWith(c.rest(), "urn:mpeg:hevc:2015:auxid:1");
    } else if (property.type == "colr" && c.Take(4) == 0x6E636C78 /* nclx */) {
      item->color.primaries = static_cast<int>(c.Take(2));
      c.Take(2);
      item->color.matrix = static_cast<int>(c.Take(2));
      item->color.full_range = static_cast<int>(c.Take(1) >> 7);
      if (!c.ok()) item->color = HeifColor();
    }
  }

  void ReadReferences(absl::string_view s) {
    Cursor head(s);
    const size_t id_bytes = head.Take(4) >> 24 == 0 ? 2 : 4;
    absl::string_view rest = head.rest();
    while (const std::optional<Box> box = NextBox(&rest)) {
      Cursor c(box->body);
      const auto from = static_cast<uint32_t>(c.Take(id_bytes));
      const uint64_t count = c.Take(2);
      const auto item = file_.items_.find(from);
      if (item == file_.items_.end()) continue;
      for (uint64_t i = 0; i < count && c.ok(); ++i) {
        const auto to = static_cast<uint32_t>(c.Take(id_bytes));
        if (c.ok()) Refer(box->type, from, &item->second, to);
      }
    }
  }

  void Refer(absl::string_view type, uint32_t from, HeifItem* item, uint32_t to) {
    if (type == "dimg") {
      item->tiles.push_back(to);
    } else if (type == "prem") {
      item->multiplied_by = to;
    } else if (const auto target = file_.items_.find(to);
               type == "auxl" && item->is_alpha && target != file_.items_.end()) {
      target->second.alpha = from;
    }
  }

  HeifFile& file_;
};

absl::StatusOr<HeifFile> HeifFile::Parse(absl::string_view bytes, ImageFormat format) {
  HeifFile file;
  file.file_ = bytes;
  file.format_ = format;
  bool found = false;
  absl::string_view rest = bytes;
  while (const std::optional<Box> box = NextBox(&rest)) {
    if (box->type != "meta") continue;
    found = Reader(&file).ReadMeta(box->body);
    break;
  }
  if (!found) return Corrupt(format, "no complete description of a picture");
  const HeifItem* primary = file.Find(file.primary_);
  if (primary == nullptr || primary->type.empty()) return Corrupt(format, "no primary picture");
  file.width_ = primary->width;
  file.height_ = primary->height;
  const absl::string_view coded = format == ImageFormat::kAvif ? "av01" : "hvc1";
  if (primary->type == coded) return file;
  if (primary->type != "grid") {
    return DecodeError(Reason::kUnsupportedFormat,
                       absl::StrCat(ImageFormatName(format), " whose picture is coded in another way (",
                                    primary->type == "av01"   ? "AV1"
                                    : primary->type == "hvc1" ? "HEVC"
                                                              : "derived",
                                    ") is not supported"));
  }
  const absl::StatusOr<HeifGrid> grid = file.GridOf(*primary);
  if (!grid.ok()) return grid.status();
  file.width_ = grid->width;
  file.height_ = grid->height;
  return file;
}

absl::StatusOr<HeifGrid> HeifFile::GridOf(const HeifItem& item) const {
  HeifGrid grid{.width = item.width, .height = item.height};
  if (item.type != "grid") return grid;
  std::string joined;
  const absl::StatusOr<absl::string_view> bytes = Bytes(item, &joined);
  if (!bytes.ok()) return bytes.status();
  Cursor c(*bytes);
  const uint64_t head = c.Take(2);
  grid.rows = static_cast<int>(c.Take(1)) + 1;
  grid.columns = static_cast<int>(c.Take(1)) + 1;
  const size_t side_bytes = (head & 1) != 0 ? 4 : 2;
  grid.width = static_cast<int64_t>(c.Take(side_bytes));
  grid.height = static_cast<int64_t>(c.Take(side_bytes));
  if (!c.ok()) return Corrupt(format_, "the description of the grid is cut short");
  if (item.tiles.size() < static_cast<size_t>(grid.rows) * grid.columns) {
    return Corrupt(format_, "tiles of the grid are missing");
  }
  return grid;
}

const HeifItem* HeifFile::Find(uint32_t id) const {
  const auto found = items_.find(id);
  return found == items_.end() ? nullptr : &found->second;
}

absl::StatusOr<absl::string_view> HeifFile::Bytes(const HeifItem& item, std::string* joined) const {
  const absl::string_view all = item.in_idat ? idat_ : file_;
  const auto part = [&](const std::pair<uint64_t, uint64_t>& extent) -> std::optional<absl::string_view> {
    const auto [offset, length] = extent;
    if (offset > all.size() || length > all.size() - offset) return std::nullopt;
    return all.substr(static_cast<size_t>(offset),
                      length == 0 ? absl::string_view::npos : static_cast<size_t>(length));
  };
  const absl::Status missing = Corrupt(format_, "the image data is damaged or cut short");
  if (item.extents.empty()) return missing;
  if (item.extents.size() == 1) {
    const std::optional<absl::string_view> only = part(item.extents[0]);
    return only ? absl::StatusOr<absl::string_view>(*only) : missing;
  }
  for (const auto& extent : item.extents) {
    const std::optional<absl::string_view> piece = part(extent);
    // Extents may overlap: together they are never longer than the file is.
    if (!piece || joined->size() + piece->size() > file_.size()) return missing;
    joined->append(piece->data(), piece->size());
  }
  return absl::string_view(*joined);
}

}  // namespace embedd
