// SPDX-License-Identifier: Apache-2.0
//
// embedctl rank: which of some texts fit an image best.

#include "client/cpp/ctl/rank.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/ctl/table.h"
#include "client/cpp/ctl/texts.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

struct Flags {
  std::vector<std::string> files;
  TextFlags texts;
  size_t top = 5;
  bool json = false;
};

struct Row {
  size_t text = 0;
  double cosine = 0;
  std::optional<double> probability;
};

// The texts of one image, the best first.
std::vector<Row> Ranked(std::span<const float> image, const client::EmbedResult& texts, size_t count,
                        const client::ServerInfo::Model& model) {
  std::vector<double> cosines;
  for (size_t i = 0; i < count; ++i) cosines.push_back(Cosine(image, texts.row(i)));
  const auto probabilities = Probabilities(cosines, model);
  std::vector<Row> rows;
  for (size_t i = 0; i < count; ++i) {
    rows.push_back({i, cosines[i], probabilities ? std::optional((*probabilities)[i]) : std::nullopt});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.cosine > b.cosine; });
  return rows;
}

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void PrintJson(const std::string& file, std::span<const Row> rows, const std::vector<std::string>& texts) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json one = {{"text", texts[row.text]}, {"cosine", row.cosine}};
    if (row.probability) one["probability"] = *row.probability;
    list.push_back(std::move(one));
  }
  absl::PrintF("%s\n", Dump({{"file", file}, {"texts", std::move(list)}}));
}

int Run(const Common& common, const Flags& flags) {
  const auto texts = Texts(flags.texts);
  if (!texts.ok()) return BadArguments(texts.status());
  if (texts->empty())
    return BadArguments(absl::InvalidArgumentError("there is no text; give --text or --texts"));
  const auto client = Connect(common);
  if (!client.ok()) return BadArguments(client.status());
  const auto info = (*client)->GetServerInfo();
  if (!info.ok()) return Fail(info.status());
  const auto described = (*client)->EmbedTexts(*texts);
  if (!described.ok()) return Fail(described.status());
  for (const auto& error : described->errors)
    TellFailed(absl::StrCat("\"", Shown((*texts)[error.index]), "\""), error);
  if (!described->errors.empty()) return kFailed;
  const auto images = (*client)->EmbedFiles(flags.files);
  if (!images.ok()) return Fail(images.status());

  std::vector<std::vector<std::string>> cells;
  auto error = images->errors.begin();
  for (size_t i = 0; i < flags.files.size(); ++i) {
    if (error != images->errors.end() && error->index == i) {
      TellFailed(flags.files[i], *error);
      ++error;
      continue;
    }
    auto rows = Ranked(images->row(i), *described, texts->size(), info->model);
    rows.resize(std::min(rows.size(), flags.top));
    if (flags.json) {
      PrintJson(flags.files[i], rows, *texts);
      continue;
    }
    for (const Row& row : rows) {
      cells.push_back({Printable(flags.files[i]), Shown((*texts)[row.text]),
                       absl::StrFormat("%.4f", row.cosine),
                       row.probability ? absl::StrFormat("%.1f %%", 100 * *row.probability) : "-"});
    }
  }
  if (!flags.json) absl::PrintF("%s", TableText({"image", "text", "cosine", "probability"}, cells));
  return images->errors.empty() ? kOk : kFailed;
}

}  // namespace

double Cosine(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](float x, float y) { return double{x} * y; });
}

std::optional<std::vector<double>> Probabilities(std::span<const double> cosines,
                                                 const client::ServerInfo::Model& model) {
  if (!model.logit_scale) return std::nullopt;
  std::vector<double> values;
  for (const double cosine : cosines)
    values.push_back(*model.logit_scale * cosine + model.logit_bias.value_or(0));
  if (model.similarity == "sigmoid") {
    for (double& value : values) value = 1 / (1 + std::exp(-value));
    return values;
  }
  const double highest = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double& value : values) sum += value = std::exp(value - highest);
  for (double& value : values) value /= sum;
  return values;
}

void AddRank(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("rank", "Say which of some texts fit each image best");
  auto flags = std::make_shared<Flags>();
  command->add_option("files", flags->files, "Image files")->required()->type_name("FILE");
  AddTextFlags(*command, &flags->texts);
  command->add_option("--top", flags->top, "How many texts to show for each image")
      ->capture_default_str()
      ->check(OneOrMore());
  command->add_flag("--json", flags->json, "One JSON object per image");
  command->footer(
      "Probabilities use the scale and bias of the model: over all texts together (CLIP), or of each text by "
      "itself\n"
      "(SigLIP). Needs a model with a text tower.\n"
      "Example:\n"
      "  embedctl rank cat.jpg dog.png --text 'a cat' --text 'a dog'");
  command->callback([&common, flags, exit_code] { *exit_code = Run(common, *flags); });
}

}  // namespace embedd::ctl
