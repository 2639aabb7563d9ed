// SPDX-License-Identifier: Apache-2.0
//
// The little of the ZIP format that np.savez writes: a central directory of stored members. Sizes and offsets
// come from a file that may be damaged: each is checked before it is used.

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/ctl/npy.h"

namespace embedd::ctl {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kMemberSignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr size_t kEndSize = 22;
constexpr size_t kMemberSize = 46;
constexpr size_t kLocalSize = 30;

struct Member {
  std::string name;
  bool stored = false;
  uint64_t bytes = 0;
  uint64_t offset = 0;
};

absl::Status Damaged() { return absl::InvalidArgumentError("the .npz file is damaged or cut off"); }

// Zero beyond the end: every caller compares with a signature first.
uint64_t At(std::string_view content, uint64_t offset, int count) {
  if (content.size() < static_cast<uint64_t>(count) || offset > content.size() - count) return 0;
  uint64_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(content[offset + i]);
  return value;
}

absl::StatusOr<std::vector<Member>> Members(std::string_view content) {
  if (content.size() < kEndSize) return Damaged();
  uint64_t end = content.size() - kEndSize;
  while (end > 0 && At(content, end, 4) != kEndSignature) --end;
  if (At(content, end, 4) != kEndSignature) return Damaged();

  std::vector<Member> members;
  uint64_t at = At(content, end + 16, 4);
  for (uint64_t left = At(content, end + 10, 2); left > 0; --left) {
    if (At(content, at, 4) != kMemberSignature || at + kMemberSize > content.size()) return Damaged();
    const uint64_t name_size = At(content, at + 28, 2);
    if (at + kMemberSize + name_size > content.size()) return Damaged();
    members.push_back({.name = std::string(content.substr(at + kMemberSize, name_size)),
                       .stored = At(content, at + 10, 2) == 0,
                       .bytes = At(content, at + 24, 4),
                       .offset = At(content, at + 42, 4)});
    at += kMemberSize + name_size + At(content, at + 30, 2) + At(content, at + 32, 2);
  }
  return members;
}

absl::StatusOr<Member> Pick(const std::vector<Member>& members, const std::string& name) {
  if (name.empty() && members.size() == 1) return members.front();
  for (const auto& member : members) {
    if (!name.empty() && member.name == name + ".npy") return member;
  }
  const auto names = absl::StrJoin(members, ", ", [](std::string* out, const Member& member) {
    out->append(member.name.substr(0, member.name.rfind(".npy")));
  });
  return absl::InvalidArgumentError(
      name.empty() ? absl::StrCat("the .npz file holds ", members.size(), " arrays (", names,
                                  "); pick one with --array NAME")
                   : absl::StrCat("the .npz file has no array ", name, "; it holds: ", names));
}

}  // namespace

absl::StatusOr<Matrix> ParseNpz(std::string_view content, const std::string& name) {
  const auto members = Members(content);
  if (!members.ok()) return members.status();
  const auto member = Pick(*members, name);
  if (!member.ok()) return member.status();
  if (!member->stored) {
    return absl::InvalidArgumentError(
        "the .npz file is compressed; save it with np.savez, or the array with np.save");
  }
  constexpr uint64_t kZip64 = 0xffffffff;
  if (member->bytes == kZip64 || member->offset == kZip64) {
    return absl::InvalidArgumentError("the array is larger than 4 GiB; save it with np.save instead");
  }
  if (At(content, member->offset, 4) != kLocalSignature) return Damaged();
  const uint64_t data =
      member->offset + kLocalSize + At(content, member->offset + 26, 2) + At(content, member->offset + 28, 2);
  if (data > content.size() || member->bytes > content.size() - data) return Damaged();
  return ParseNpy(content.substr(data, member->bytes));
}

}  // namespace embedd::ctl
