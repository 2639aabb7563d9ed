// SPDX-License-Identifier: Apache-2.0
//
// Bodies of POST /v1/embeddings, in the shapes that clients of OpenAI's API, Infinity, NV-CLIP and Jina send,
// and its answers. Pure functions; what comes in is hostile.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/http/http_message.h"

namespace embedd {

struct EmbeddingsRequest {
  struct Input {
    bool image = false;
    std::string bytes;  // of the file, or the text
  };
  std::vector<Input> inputs;
  std::string model;  // empty: not said
  bool base64 = false;
  int64_t dimensions = 0;  // 0: not said
  std::optional<bool> normalize;
  bool bulk = false;
  std::string expect_fingerprint;
};

// Reads `body`. An element of `input` is a data URI, an object with `image` (data URI or base64) or `text`,
// or a text. On an error, which is INVALID_ARGUMENT, `param` names what is wrong, e.g. "input[3]". Nothing is
// ever fetched.
absl::Status ParseEmbeddings(absl::string_view body, int max_inputs, EmbeddingsRequest* out,
                             std::string* param);

// The answer: rows of `dimension` floats of `data`, as numbers or as base64 of little-endian floats.
std::string WriteEmbeddings(absl::string_view data, int dimension, bool base64, const std::string& model,
                            const std::string& fingerprint);

// The answer to GET /v1/models, and, alone, to GET /v1/models/NAME.
std::string WriteModel(const std::string& model, int64_t created, bool in_list);

// An error as OpenAI's API writes it: {"error": {"message", "type", "param", "code"}}. `param` and `code` are
// null where empty.
HttpResponse ErrorResponse(int status, absl::string_view message, absl::string_view param = "",
                           absl::string_view code = "");

}  // namespace embedd
