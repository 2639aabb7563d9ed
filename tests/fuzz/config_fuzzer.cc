// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: the readers of text that somebody wrote: open_clip_config.json, the two files of a
// Hugging Face folder, the --config file, and the head of an HTTP request. The first byte picks the reader.

#include <cstdlib>

#include "server/config/config_file.h"
#include "server/model/hf_config.h"
#include "server/model/open_clip_config.h"
#include "server/ops/ops_pages.h"

namespace embedd {
namespace {

// An error names the file, so that whoever wrote it knows where to look.
void RequireNamed(const absl::Status& status) {
  if (!status.ok() && status.message().find("FILE") == absl::string_view::npos) std::abort();
}

void Require(bool condition) {
  if (!condition) std::abort();
}

void Read(uint8_t reader, absl::string_view text) {
  switch (reader % 5) {
    case 0: {
      const auto config = ParseOpenClipConfig(text, "FILE");
      RequireNamed(config.status());
      if (config.ok())
        Require(config->image.width > 0 && config->image.height > 0 && config->vision.width > 0);
      return;
    }
    case 1:
      return RequireNamed(ParseHfConfig(text, "FILE").status());
    case 2:
      return RequireNamed(ParseHfPreprocessor(text, "FILE", TowerConfig{}).status());
    case 3: {
      const auto entries = ParseConfigFile("FILE", text);
      RequireNamed(entries.status());
      if (!entries.ok()) return;
      for (const ConfigFileEntry& entry : *entries) Require(entry.line >= 1 && !entry.key.empty());
      return;
    }
    default: {
      HttpHead head;
      const HeadState state = ParseHead(text, &head);
      Require(state.size <= text.size() && head.content_length >= 0);
      if (state.size == 0) return;
      const HttpResponse answer = AnswerPage(head, {{"/metrics", [] { return HttpResponse{.body = "x"}; }}});
      Require(WriteResponse(answer, head.keep_alive, head.method != "HEAD").compare(0, 9, "HTTP/1.1 ") == 0);
    }
  }
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) embedd::Read(data[0], absl::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
