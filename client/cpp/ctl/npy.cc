// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/npy.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/src/file.h"
#include "client/cpp/src/rows.h"

namespace embedd::ctl {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 1 << 16;
constexpr uint64_t kMaxFile = uint64_t{64} << 30;

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ". Save it with np.save(\"vectors.npy\", v.astype(\"float32\"))"));
}

uint32_t Little(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// A device, a pipe, a link: what is there stays what it is.
bool IsSpecial(const std::string& path) {
  std::error_code ignored;
  const auto found = std::filesystem::symlink_status(path, ignored);
  return std::filesystem::exists(found) && !std::filesystem::is_regular_file(found);
}

// The text between `from` and `to` that follows "'key':".
std::string_view Field(std::string_view header, const std::string& key, char from, char to) {
  const auto at = header.find("'" + key + "':");
  if (at == std::string_view::npos) return {};
  const auto begin = header.find(from, at + key.size() + 3);
  if (begin == std::string_view::npos) return {};
  const auto end = header.find(to, begin + 1);
  return end == std::string_view::npos ? std::string_view{} : header.substr(begin + 1, end - begin - 1);
}

// "2, 512" → {2, 512}.
bool ParseShape(std::string_view text, size_t* rows, size_t* columns) {
  std::vector<std::string> sizes = absl::StrSplit(std::string(text), ',', absl::SkipWhitespace());
  uint64_t n = 0, d = 0;
  if (sizes.size() != 2 || !absl::SimpleAtoi(sizes[0], &n) || !absl::SimpleAtoi(sizes[1], &d)) return false;
  if (n > std::numeric_limits<uint32_t>::max() || d > (1 << 24)) return false;
  *rows = n;
  *columns = d;
  return true;
}

}  // namespace

std::string NpyHeader(size_t rows, size_t columns) {
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  // The data starts at a multiple of 64 bytes, so that the file can be memory-mapped.
  const size_t prefix = kMagic.size() + 4;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header += '\n';
  std::string out(kMagic);
  out += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  return out + header;
}

NpyFile::NpyFile(std::string path)
    : path_(std::move(path)),
      part_(IsSpecial(path_) ? path_ : path_ + ".part"),
      out_(part_, std::ios::binary | std::ios::trunc) {}

NpyFile::~NpyFile() {
  out_.close();
  std::error_code ignored;
  if (part_ != path_) std::filesystem::remove(part_, ignored);
}

absl::Status NpyFile::status() const {
  return out_ ? absl::OkStatus()
              : absl::PermissionDeniedError(
                    absl::StrCat(path_, " cannot be written; check the folder and its space"));
}

absl::Status NpyFile::Append(std::span<const float> values, size_t rows, size_t columns) {
  if (!std::exchange(begun_, true)) out_ << NpyHeader(rows, columns);
  out_.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  out_.flush();
  return status();
}

absl::Status NpyFile::Finish() {
  out_.close();
  std::error_code error;
  if (out_ && part_ != path_) std::filesystem::rename(part_, path_, error);
  if (error) out_.setstate(std::ios::failbit);
  return status();
}

absl::StatusOr<Matrix> ParseNpy(std::string_view content) {
  if (content.size() < 12 || content.substr(0, kMagic.size()) != kMagic) return Bad("this is no NumPy file");
  const bool long_header = content[6] >= 2;
  const size_t prefix = long_header ? 12 : 10;
  const size_t header_size = Little(content, 8, long_header ? 4 : 2);
  if (header_size > kMaxHeader || content.size() - prefix < header_size)
    return Bad("the NumPy file is cut off");
  const auto header = content.substr(prefix, header_size);
  const auto data = content.substr(prefix + header_size);

  const auto descr = Field(header, "descr", '\'', '\'');
  const bool half = descr == "<f2";
  if (!half && descr != "<f4") {
    return Bad(absl::StrCat("the array is of dtype ", std::string(descr), "; <f4 and <f2 can be read"));
  }
  if (header.find("'fortran_order': False") == std::string_view::npos)
    return Bad("the array is in Fortran order");
  Matrix matrix;
  const auto shape = Field(header, "shape", '(', ')');
  if (!ParseShape(shape, &matrix.rows, &matrix.columns)) {
    return Bad(absl::StrCat("the array has shape (", std::string(shape), "); [images, dimension] is needed"));
  }
  const uint64_t count = uint64_t{matrix.rows} * matrix.columns;  // < 2^56
  if (data.size() != count * (half ? 2 : 4))
    return Bad("the data does not have the size that the header says");
  matrix.values.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (half) {
      matrix.values[i] = client::internal::HalfToFloat(static_cast<uint16_t>(Little(data, 2 * i, 2)));
    } else {
      std::memcpy(&matrix.values[i], data.data() + 4 * i, 4);
    }
  }
  return matrix;
}

absl::StatusOr<Matrix> ReadMatrix(const std::string& path, const std::string& name) {
  auto content = client::internal::ReadFile(path, kMaxFile);
  auto matrix = !content.ok()                      ? absl::StatusOr<Matrix>(content.status())
                : absl::StartsWith(*content, "PK") ? ParseNpz(*content, name)
                                                   : ParseNpy(*content);
  if (matrix.ok()) return matrix;
  return absl::Status(matrix.status().code(), absl::StrCat(path, ": ", matrix.status().message()));
}

}  // namespace embedd::ctl
