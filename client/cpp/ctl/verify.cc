// SPDX-License-Identifier: Apache-2.0
//
// embedctl verify: do the vectors of this server agree with those of another program? For the switch to
// embedd, before anything is written to a collection of vectors.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/ctl/compare.h"
#include "client/cpp/ctl/npy.h"
#include "nlohmann/json.hpp"

namespace embedd::ctl {
namespace {

struct Flags {
  std::vector<std::string> files;
  std::string reference;
  std::string array;
  double min_cosine = 0.999;
  double max_delta = 0;  // 0: not checked
  bool no_normalize = false;
  bool json = false;
};

absl::Status CheckShapes(const Matrix& reference, const client::EmbedResult& result, size_t files) {
  if (reference.rows != files) {
    return absl::InvalidArgumentError(
        absl::StrCat("the reference has ", reference.rows, " rows, but ", files,
                     " files were given; give one file per row, in the same order"));
  }
  if (reference.columns != result.dimension) {
    return absl::InvalidArgumentError(absl::StrCat("the reference has vectors of ", reference.columns,
                                                   " numbers, the server of ", result.dimension,
                                                   "; they come from different models"));
  }
  return absl::OkStatus();
}

int Run(const Common& common, const Flags& flags) {
  const auto reference = ReadMatrix(flags.reference, flags.array);
  if (!reference.ok()) return Fail(reference.status());
  const auto client = Connect(common);
  if (!client.ok()) return BadArguments(client.status());
  const auto result = (*client)->EmbedFiles(flags.files, {.normalize = !flags.no_normalize});
  if (!result.ok()) return Fail(result.status());
  for (const auto& error : result->errors) TellFailed(flags.files[error.index], error);
  if (!result->errors.empty()) return kFailed;
  if (auto status = CheckShapes(*reference, *result, flags.files.size()); !status.ok()) return Fail(status);

  const Comparison c = Compare(reference->values, result->rows, result->dimension);
  const bool agree =
      c.min_cosine >= flags.min_cosine && (flags.max_delta <= 0 || c.max_delta <= flags.max_delta);
  if (flags.json) {
    const nlohmann::ordered_json json = {
        {"images", flags.files.size()},           {"min_cosine", c.min_cosine},
        {"mean_cosine", c.mean_cosine},           {"max_delta", c.max_delta},
        {"worst_file", flags.files[c.worst_row]}, {"agree", agree},
        {"fingerprint", result->fingerprint}};
    absl::PrintF("%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    absl::PrintF(
        "images       %d\nmin cosine   %.9f  (%s)\nmean cosine  %.9f\nmax |delta|  %.3g\nverdict      %s\n",
        flags.files.size(), c.min_cosine, Printable(flags.files[c.worst_row]), c.mean_cosine, c.max_delta,
        agree ? "the vectors agree" : "the vectors differ");
  }
  return agree ? kOk : kFailed;
}

}  // namespace

void AddVerify(CLI::App& app, const Common& common, int* exit_code) {
  auto* command =
      app.add_subcommand("verify", "Compare the vectors of this server with those of another program");
  auto flags = std::make_shared<Flags>();
  command
      ->add_option(
          "--reference", flags->reference,
          ".npy of the old vectors [files, dimension], or .npz as np.savez writes it (not compressed)")
      ->required()
      ->type_name("FILE");
  command->add_option("--array", flags->array, "Name of the array in an .npz that holds several");
  command->add_option("files", flags->files, "The images behind the rows, in their order")
      ->required()
      ->type_name("FILE");
  command->add_option("--min-cosine", flags->min_cosine, "Least cosine of each pair")->capture_default_str();
  command->add_option("--max-delta", flags->max_delta, "Largest difference of two numbers; 0: not checked")
      ->capture_default_str();
  command->add_flag("--no-normalize", flags->no_normalize, "Compare vectors as the model gives them");
  command->add_flag("--json", flags->json, "Print JSON");
  command->footer(
      "Exit code 1 when a pair is beyond the tolerance.\n"
      "Example:\n"
      "  embedctl verify --reference old.npy $(cat files.txt)");
  command->callback([&common, flags, exit_code] { *exit_code = Run(common, *flags); });
}

}  // namespace embedd::ctl
