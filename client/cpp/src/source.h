// SPDX-License-Identifier: Apache-2.0
//
// The inputs of one call, wherever they come from: files, images in memory, texts. Sizes are known up front,
// so that the call can be cut; content is put into a message only when its request is about to be sent.

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "embedd/client.h"
#include "embedd/v1/embedding_service.pb.h"

namespace embedd::client::internal {

class Source {
 public:
  virtual ~Source() = default;
  virtual bool texts() const { return false; }
  // Bytes of every input; zero where it will fail in Fill.
  virtual std::vector<size_t> Bytes() const = 0;
  // Puts input `i` into `input`, or says why the server need not be asked; then `input` is unchanged.
  virtual std::optional<InputError> Fill(size_t i, v1::Input* input) const = 0;
};

// The spans must stay in place as long as the source.
std::unique_ptr<Source> FileSource(std::span<const std::string> paths, const ServerInfo::Limits& limits);
std::unique_ptr<Source> ImageSource(std::span<const ImageRef> images, const ServerInfo::Limits& limits);
std::unique_ptr<Source> TextSource(std::span<const std::string> texts, const ServerInfo::Limits& limits);

}  // namespace embedd::client::internal
