// SPDX-License-Identifier: Apache-2.0

#include "server/model/tower_layout.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace embedd {
namespace {

// "mlp.c_fc.weight" is "mlp.c_fc" and ".weight"; "attn.in_proj_bias" is "attn.in_proj" and ".bias".
std::pair<std::string, std::string> SplitKind(absl::string_view name) {
  for (const absl::string_view kind : {"weight", "bias"}) {
    absl::string_view stem = name;
    if (absl::ConsumeSuffix(&stem, kind) &&
        (absl::ConsumeSuffix(&stem, ".") || absl::ConsumeSuffix(&stem, "in_proj_"))) {
      const bool joined = name.find("in_proj_") != absl::string_view::npos;
      return {absl::StrCat(stem, joined ? "in_proj" : ""), absl::StrCat(".", kind)};
    }
  }
  return {std::string(name), ""};
}

}  // namespace

StoredName Spell(const TowerLayout& layout, const TowerConfig& config, const std::string& name) {
  absl::string_view rest = name;
  std::string before = layout.prefix;
  const bool in_block = absl::ConsumePrefix(&rest, "transformer.resblocks.");
  if (in_block) {
    const std::pair<absl::string_view, absl::string_view> split =
        absl::StrSplit(rest, absl::MaxSplits('.', 1));
    absl::StrAppend(&before, layout.block, split.first, ".");
    rest = split.second;
  }
  std::string kind;
  auto it = layout.names.find(std::string(rest));
  if (it == layout.names.end()) {
    const auto [stem, ending] = SplitKind(rest);
    it = layout.names.find(stem);
    kind = ending;
  }
  StoredName stored;
  stored.leading_ones = true;
  absl::string_view spelling = it == layout.names.end() ? rest : absl::string_view(it->second);
  if (it == layout.names.end()) kind.clear();  // spelled as here
  stored.transposed = absl::ConsumeSuffix(&spelling, "^T");
  for (absl::string_view part : absl::StrSplit(spelling, '+')) {
    const bool elsewhere = absl::ConsumePrefix(&part, "/");
    stored.parts.push_back(absl::StrCat(elsewhere ? "" : before, part, kind));
  }
  if (rest == "attn.in_proj_bias" && stored.parts.size() == 3) {
    if (!config.query_bias) stored.parts[0].clear();
    if (!config.key_bias) stored.parts[1].clear();
    if (!config.value_bias) stored.parts[2].clear();
  }
  if (stored.parts.size() == 2 && absl::StartsWith(rest, "pool.in_proj")) stored.shares = {1, 2};
  return stored;
}

}  // namespace embedd
