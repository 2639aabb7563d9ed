// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/texts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/ctl/common.h"
#include "client/cpp/src/file.h"

namespace embedd::ctl {
namespace {

constexpr uint64_t kMaxFile = uint64_t{1} << 30;
constexpr size_t kShown = 60;

}  // namespace

void AddTextFlags(CLI::App& command, TextFlags* flags) {
  // One value each: what follows is the next file.
  command.add_option("--text", flags->texts, "A text; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command.add_option("--texts", flags->file, "A file with a text in each line (UTF-8)")->type_name("FILE");
}

absl::StatusOr<std::vector<std::string>> Texts(const TextFlags& flags) {
  std::vector<std::string> texts = flags.texts;
  if (flags.file.empty()) return texts;
  const auto content = client::internal::ReadFile(flags.file, kMaxFile);
  if (!content.ok()) {
    return absl::Status(content.status().code(),
                        absl::StrCat("--texts ", flags.file, ": ", content.status().message()));
  }
  absl::string_view rest = *content;
  absl::ConsumePrefix(&rest, "\xef\xbb\xbf");  // a byte order mark
  if (rest.empty()) return texts;
  absl::ConsumeSuffix(&rest, "\n");
  for (absl::string_view line : absl::StrSplit(rest, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    texts.emplace_back(line);
  }
  return texts;
}

std::string Shown(const std::string& text) {
  std::string shown = text.substr(0, kShown);
  if (text.size() > kShown) {
    // Not in the middle of a character.
    while (!shown.empty() && (static_cast<unsigned char>(text[shown.size()]) & 0xc0) == 0x80)
      shown.pop_back();
    shown += "...";
  }
  return Printable(std::move(shown));
}

}  // namespace embedd::ctl
