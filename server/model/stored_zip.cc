// SPDX-License-Identifier: Apache-2.0

#include "server/model/stored_zip.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50, kDirectoryEnd = 0x06054b50,
                   kDirectoryEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint64_t kLongestComment = 65535, kMostEntries = 1 << 20;
constexpr uint16_t kEncrypted = 1, kZip64Extra = 1;

// A number of the file at `at`; the caller has checked that it lies inside.
template <typename Number>
Number Get(absl::string_view bytes, uint64_t at) {
  Number value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

struct Directory {
  uint64_t begin = 0;
  uint64_t size = 0;
  uint64_t entries = 0;
};

struct Entry {
  std::string name;
  uint64_t header = 0;  // where its local header lies
  uint64_t size = 0;
};

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file), bytes_(file.text()) {}

  absl::StatusOr<std::map<std::string, absl::string_view>> Read() {
    absl::StatusOr<Directory> directory = FindDirectory();
    if (!directory.ok()) return directory.status();
    std::vector<Entry> entries;
    if (absl::Status status = ReadDirectory(*directory, &entries); !status.ok()) return status;
    return Locate(entries, directory->begin);
  }

 private:
  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": ", message));
  }
  absl::Status EntryError(const Entry& entry, absl::string_view message) const {
    return Error(absl::StrCat("entry \"", Printable(entry.name), "\" ", message));
  }
  // Whether `size` bytes at `at` lie in the file.
  bool Inside(uint64_t at, uint64_t size) const { return at <= bytes_.size() && size <= bytes_.size() - at; }

  absl::StatusOr<Directory> FindDirectory() const;
  absl::StatusOr<Directory> FindDirectory64(uint64_t end) const;
  absl::Status ReadDirectory(const Directory& directory, std::vector<Entry>* entries) const;
  absl::Status ReadEntry64(absl::string_view extra, uint64_t stored, Entry* entry) const;
  absl::StatusOr<std::map<std::string, absl::string_view>> Locate(std::vector<Entry>& entries,
                                                                  uint64_t directory) const;

  const MappedFile& file_;
  const absl::string_view bytes_;
};

absl::StatusOr<Directory> Reader::FindDirectory() const {
  constexpr uint64_t kSize = 22;
  if (bytes_.size() < kSize) return Error("is too short to be a ZIP file");
  const uint64_t last = bytes_.size() - kSize;
  uint64_t at = last;
  // The record stands at the end of the file, but for a comment whose length it says.
  while (Get<uint32_t>(bytes_, at) != kDirectoryEnd || Get<uint16_t>(bytes_, at + 20) != last - at) {
    if (at == 0 || last - at == kLongestComment) return Error("has no ZIP directory: truncated?");
    --at;
  }
  Directory directory{Get<uint32_t>(bytes_, at + 16), Get<uint32_t>(bytes_, at + 12),
                      Get<uint16_t>(bytes_, at + 10)};
  if (directory.begin == UINT32_MAX || directory.size == UINT32_MAX || directory.entries == UINT16_MAX) {
    absl::StatusOr<Directory> wide = FindDirectory64(at);
    if (!wide.ok()) return wide.status();
    directory = *wide;
  }
  if (!Inside(directory.begin, directory.size) || directory.begin + directory.size > at) {
    return Error("the ZIP directory lies outside the file");
  }
  if (directory.entries > kMostEntries) return Error("has too many ZIP entries");
  return directory;
}

absl::StatusOr<Directory> Reader::FindDirectory64(uint64_t end) const {
  constexpr uint64_t kLocatorSize = 20, kSize = 56;
  if (end < kLocatorSize || Get<uint32_t>(bytes_, end - kLocatorSize) != kLocator64) {
    return Error("has no Zip64 locator");
  }
  const uint64_t at = Get<uint64_t>(bytes_, end - kLocatorSize + 8);
  if (!Inside(at, kSize) || Get<uint32_t>(bytes_, at) != kDirectoryEnd64) {
    return Error("has no Zip64 directory");
  }
  return Directory{Get<uint64_t>(bytes_, at + 48), Get<uint64_t>(bytes_, at + 40),
                   Get<uint64_t>(bytes_, at + 32)};
}

absl::Status Reader::ReadDirectory(const Directory& directory, std::vector<Entry>* entries) const {
  constexpr uint64_t kSize = 46;
  const uint64_t end = directory.begin + directory.size;
  uint64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (end - at < kSize || Get<uint32_t>(bytes_, at) != kDirectoryEntry) {
      return Error("the ZIP directory ends early");
    }
    const uint64_t name = Get<uint16_t>(bytes_, at + 28), extra = Get<uint16_t>(bytes_, at + 30),
                   comment = Get<uint16_t>(bytes_, at + 32);
    if (end - at - kSize < name + extra + comment) return Error("the ZIP directory ends early");
    Entry entry{std::string(bytes_.substr(at + kSize, name)), Get<uint32_t>(bytes_, at + 42),
                Get<uint32_t>(bytes_, at + 24)};
    const uint64_t stored = Get<uint32_t>(bytes_, at + 20);
    if ((Get<uint16_t>(bytes_, at + 8) & kEncrypted) != 0) return EntryError(entry, "is encrypted");
    if (Get<uint16_t>(bytes_, at + 10) != 0) {
      return EntryError(entry, "is compressed; torch.save only stores");
    }
    if (absl::Status s = ReadEntry64(bytes_.substr(at + kSize + name, extra), stored, &entry); !s.ok()) {
      return s;
    }
    entries->push_back(std::move(entry));
    at += kSize + name + extra + comment;
  }
  return absl::OkStatus();
}

// Sizes and the place of an entry that do not fit 32 bits stand in an extra field, in this order, each only
// where the field of 32 bits says so.
absl::Status Reader::ReadEntry64(absl::string_view extra, uint64_t stored, Entry* entry) const {
  const bool wide_size = entry->size == UINT32_MAX, wide_stored = stored == UINT32_MAX,
             wide_header = entry->header == UINT32_MAX;
  while (extra.size() >= 4 && (wide_size || wide_stored || wide_header)) {
    const uint16_t kind = Get<uint16_t>(extra, 0), size = Get<uint16_t>(extra, 2);
    if (extra.size() - 4 < size) break;
    if (kind != kZip64Extra) {
      extra.remove_prefix(4 + size);
      continue;
    }
    if (size < 8 * (wide_size + wide_stored + wide_header)) break;
    uint64_t at = 4;
    for (const auto& [wide, field] :
         {std::pair{wide_size, &entry->size}, {wide_stored, &stored}, {wide_header, &entry->header}}) {
      if (wide) *field = Get<uint64_t>(extra, at);
      if (wide) at += 8;
    }
    if (stored != entry->size) break;
    return absl::OkStatus();
  }
  if (wide_size || wide_stored || wide_header || stored != entry->size) {
    return EntryError(*entry, "has sizes that contradict each other");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, absl::string_view>> Reader::Locate(std::vector<Entry>& entries,
                                                                        uint64_t directory) const {
  constexpr uint64_t kSize = 30;
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.header < b.header; });
  std::map<std::string, absl::string_view> found;
  uint64_t end = 0;  // of the entry before
  for (const Entry& entry : entries) {
    if (entry.header < end) return EntryError(entry, "overlaps the one before it");
    if (entry.header > directory || directory - entry.header < kSize ||
        Get<uint32_t>(bytes_, entry.header) != kLocalHeader) {
      return EntryError(entry, "has no header where the directory says");
    }
    const uint64_t name = Get<uint16_t>(bytes_, entry.header + 26),
                   extra = Get<uint16_t>(bytes_, entry.header + 28),
                   begin = entry.header + kSize + name + extra;
    if (begin > directory || entry.size > directory - begin)
      return EntryError(entry, "lies outside the file");
    if (bytes_.substr(entry.header + kSize, name) != entry.name ||
        Get<uint16_t>(bytes_, entry.header + 8) != 0) {
      return EntryError(entry, "has a header that contradicts the directory");
    }
    end = begin + entry.size;
    if (!found.emplace(entry.name, bytes_.substr(begin, entry.size)).second) {
      return EntryError(entry, "is there twice");
    }
  }
  return found;
}

}  // namespace

absl::StatusOr<std::map<std::string, absl::string_view>> ReadStoredZip(const MappedFile& file) {
  return Reader(file).Read();
}

}  // namespace embedd
