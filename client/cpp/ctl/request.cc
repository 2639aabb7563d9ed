// SPDX-License-Identifier: Apache-2.0
//
// embedctl request: writes the bytes of an EmbedBatchRequest, for load tools that send a file (ghz -B).

#include <cstdio>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/ctl/commands.h"
#include "client/cpp/src/source.h"
#include "embedd/v1/embedding_service.pb.h"

namespace embedd::ctl {
namespace {

struct Flags {
  std::vector<std::string> files;
  std::string out;
  bool fp16 = false;
  bool no_normalize = false;
};

int Run(const Flags& flags) {
  v1::EmbedBatchRequest request;
  request.set_encoding(flags.fp16 ? v1::ENCODING_FLOAT16 : v1::ENCODING_FLOAT32);
  if (flags.no_normalize) request.set_normalize(false);
  const auto source = client::internal::FileSource(flags.files, {});
  for (size_t i = 0; i < flags.files.size(); ++i) {
    if (const auto error = source->Fill(i, request.add_inputs())) {
      TellFailed(flags.files[i], *error);
      return kFailed;
    }
  }
  if (request.ByteSizeLong() > std::numeric_limits<int32_t>::max()) {
    return Fail(absl::InvalidArgumentError("a message holds less than 2 GiB; give fewer files"));
  }
  std::ofstream out(flags.out, std::ios::binary | std::ios::trunc);
  request.SerializeToOstream(&out);
  out.close();
  if (!out) return Fail(absl::PermissionDeniedError(absl::StrCat(flags.out, " cannot be written")));
  absl::PrintF("%s: %d images, %s\n", flags.out, flags.files.size(), BytesText(request.ByteSizeLong()));
  return kOk;
}

}  // namespace

void AddRequest(CLI::App& app, const Common&, int* exit_code) {
  auto* command =
      app.add_subcommand("request", "Write a binary EmbedBatchRequest, for load tools; asks no server");
  auto flags = std::make_shared<Flags>();
  command->add_option("--out", flags->out, "File to write")->required()->type_name("FILE");
  command->add_option("files", flags->files, "Image files")->required()->type_name("FILE");
  command->add_flag("--fp16", flags->fp16, "Ask for half floats");
  command->add_flag("--no-normalize", flags->no_normalize, "Ask for vectors as the model gives them");
  command->footer(
      "Example:\n"
      "  embedctl request --out request.bin cat.jpg dog.png\n"
      "  ghz --insecure --call embedd.v1.EmbeddingService/EmbedBatch -B request.bin -c 16 -z 30s "
      "127.0.0.1:50051");
  command->callback([flags, exit_code] { *exit_code = Run(*flags); });
}

}  // namespace embedd::ctl
