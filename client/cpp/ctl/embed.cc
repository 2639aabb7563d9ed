// SPDX-License-Identifier: Apache-2.0
//
// embedctl embed: image files or texts in, vectors out as lines, as JSON or as a NumPy file.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/ctl/npy.h"
#include "client/cpp/ctl/texts.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

// Inputs of one call: results of a long list appear while it is worked on.
constexpr size_t kSlice = 2048;

struct Flags {
  std::vector<std::string> files;
  TextFlags texts;
  bool json = false;
  std::string npy;
  bool fp16 = false;
  bool no_normalize = false;
  bool bulk = false;
};

// What is embedded, and how a line calls it.
struct Inputs {
  std::vector<std::string> all;
  bool texts = false;

  const char* key() const { return texts ? "text" : "file"; }
  std::string Name(size_t i) const {
    return texts ? absl::StrCat("\"", Shown(all[i]), "\"") : Printable(all[i]);
  }
};

std::string JsonLine(const char* key, const std::string& input, std::span<const float> row) {
  return absl::StrCat(
      "{\"", key, "\":", nlohmann::json(input).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
      ",\"vector\":", NumbersText(row), "}");
}

std::string JsonLine(const char* key, const std::string& input, const client::InputError& error) {
  const nlohmann::ordered_json line = {
      {key, input},
      {"error", {{"code", CodeName(error.code)}, {"reason", error.reason}, {"message", error.message}}}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string TextLine(const std::string& file, std::span<const float> row) {
  constexpr size_t kShown = 4;
  double squares = 0;
  for (const float x : row) squares += double{x} * x;
  std::string line = absl::StrFormat("%s  [%d] norm %.4f ", file, row.size(), std::sqrt(squares));
  for (size_t i = 0; i < std::min(kShown, row.size()); ++i) absl::StrAppendFormat(&line, " %+.5f", row[i]);
  return row.size() > kShown ? line + " ..." : line;
}

void PrintSlice(const Flags& flags, const Inputs& inputs, size_t first, size_t count,
                const client::EmbedResult& result) {
  auto error = result.errors.begin();
  for (size_t i = 0; i < count; ++i) {
    const std::string& input = inputs.all[first + i];
    if (error != result.errors.end() && error->index == i) {
      TellFailed(inputs.Name(first + i), *error);
      if (flags.json) absl::PrintF("%s\n", JsonLine(inputs.key(), input, *error));
      ++error;
    } else if (flags.json) {
      absl::PrintF("%s\n", JsonLine(inputs.key(), input, result.row(i)));
    } else if (flags.npy.empty()) {
      absl::PrintF("%s\n", TextLine(inputs.Name(first + i), result.row(i)));
    }
  }
  std::fflush(stdout);
}

absl::StatusOr<Inputs> InputsOf(const Flags& flags) {
  if (flags.files.empty() == !flags.texts.given()) {
    return absl::InvalidArgumentError("give either image files or texts (--text, --texts)");
  }
  if (!flags.texts.given()) return Inputs{.all = flags.files};
  auto texts = Texts(flags.texts);
  if (!texts.ok()) return texts.status();
  return Inputs{.all = *std::move(texts), .texts = true};
}

int Run(const Common& common, const Flags& flags) {
  const auto inputs = InputsOf(flags);
  if (!inputs.ok()) return BadArguments(inputs.status());
  const auto client = Connect(common);
  if (!client.ok()) return BadArguments(client.status());
  client::EmbedOptions options{.normalize = !flags.no_normalize, .float16 = flags.fp16, .bulk = flags.bulk};
  std::optional<NpyFile> npy;
  if (!flags.npy.empty()) {
    npy.emplace(flags.npy);  // at once: a job of hours must not end at a path that is wrong
    if (!npy->status().ok()) return Fail(npy->status());
  }
  bool failed = false;
  // No input, too, is a call: it gives the dimension.
  for (size_t first = 0; first == 0 || first < inputs->all.size(); first += kSlice) {
    const auto slice = std::span(inputs->all).subspan(first, std::min(kSlice, inputs->all.size() - first));
    const auto result =
        inputs->texts ? (*client)->EmbedTexts(slice, options) : (*client)->EmbedFiles(slice, options);
    if (!result.ok()) return Fail(result.status());
    PrintSlice(flags, *inputs, first, slice.size(), *result);
    if (std::ferror(stdout) != 0) return kFailed;  // main says so
    options.expect_fingerprint = result->fingerprint;
    failed |= !result->errors.empty();
    if (!npy) continue;
    auto status = npy->Append(result->rows, inputs->all.size(), result->dimension);
    if (!status.ok()) return Fail(status);
  }
  if (npy) {
    if (auto status = npy->Finish(); !status.ok()) return Fail(status);
  }
  return failed ? kFailed : kOk;
}

}  // namespace

void AddEmbed(CLI::App& app, const Common& common, int* exit_code) {
  auto* command = app.add_subcommand("embed", "Embed image files or texts");
  auto flags = std::make_shared<Flags>();
  command->add_option("files", flags->files, "Image files")->type_name("FILE");
  AddTextFlags(*command, &flags->texts);
  auto* json = command->add_flag("--json", flags->json,
                                 "One JSON object per line: file (or text) and vector, or file and error");
  command
      ->add_option(
          "--npy", flags->npy,
          "Write a NumPy file [inputs, dimension] float32, there once it is whole; rows of failed inputs "
          "are zero")
      ->type_name("OUT")
      ->excludes(json);
  command->add_flag("--fp16", flags->fp16, "Have vectors sent as half floats");
  command->add_flag("--no-normalize", flags->no_normalize,
                    "Vectors as the model gives them, not of length 1");
  command->add_flag("--bulk", flags->bulk, "Wait behind interactive callers");
  command->footer(
      "Inputs that fail are named on stderr; the exit code is then 1.\n"
      "Examples:\n"
      "  embedctl embed cat.jpg dog.png\n"
      "  embedctl embed *.jpg --npy vectors.npy\n"
      "  embedctl embed --text 'a red car'\n"
      "  embedctl embed *.jpg --json | jq -c '[.file, .vector[0]]'");
  command->callback([&common, flags, exit_code] { *exit_code = Run(common, *flags); });
}

}  // namespace embedd::ctl
