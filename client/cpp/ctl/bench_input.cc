// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/bench_input.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cpp/ctl/common.h"
#include "client/cpp/ctl/jpeg.h"
#include "client/cpp/ctl/synthetic.h"
#include "client/cpp/src/source.h"
#include "embedd/v1/embedding_service.pb.h"

namespace embedd::ctl {
namespace {

constexpr int kJpegQuality = 90;
// Different pictures, so that no cache along the way makes them all one; few, so that they are quickly made.
constexpr size_t kPictures = 16;
constexpr size_t kRequests = 4;

std::vector<v1::Input> Pictures(const BenchInput& input) {
  std::vector<v1::Input> pictures(kPictures);
  for (size_t i = 0; i < kPictures; ++i) {
    auto rgb = SyntheticPixels(input.width, input.height, static_cast<uint32_t>(i));
    if (input.kind == "jpeg") {
      pictures[i].set_image(EncodeJpeg(rgb, input.width, input.height, kJpegQuality));
    } else {
      auto* raw = pictures[i].mutable_raw_image();
      raw->set_width(input.width);
      raw->set_height(input.height);
      raw->set_rgb(std::move(rgb));
    }
  }
  return pictures;
}

absl::StatusOr<std::vector<v1::Input>> Files(const BenchInput& input,
                                             const client::ServerInfo::Limits& limits) {
  const auto source = client::internal::FileSource(input.files, limits);
  std::vector<v1::Input> pictures(input.files.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    if (const auto error = source->Fill(i, &pictures[i])) {
      return absl::InvalidArgumentError(absl::StrCat(input.files[i], ": ", error->message));
    }
  }
  return pictures;
}

}  // namespace

std::string Describe(const BenchInput& input) {
  return input.files.empty() ? absl::StrCat(input.kind, " ", input.width, "x", input.height)
                             : absl::StrCat(input.files.size(), " files");
}

absl::StatusOr<std::vector<grpc::ByteBuffer>> MakeRequests(const BenchInput& input,
                                                           const client::ServerInfo& info) {
  const auto& limits = info.limits;
  if (limits.max_inputs_per_request > 0 && input.images > limits.max_inputs_per_request) {
    return absl::InvalidArgumentError(absl::StrCat("--images ", input.images, ": the server takes ",
                                                   limits.max_inputs_per_request, " a call"));
  }
  auto pictures =
      input.files.empty() ? absl::StatusOr<std::vector<v1::Input>>(Pictures(input)) : Files(input, limits);
  if (!pictures.ok()) return pictures.status();
  size_t largest = 0;
  for (const auto& picture : *pictures) largest = std::max(largest, picture.ByteSizeLong() + 8);
  const size_t bytes = largest * input.images;
  if (limits.max_message_bytes > 0 && bytes > limits.max_message_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("a call of ", input.images, " such images may have ",
                                                   BytesText(bytes), "; the server takes ",
                                                   BytesText(limits.max_message_bytes)));
  }
  std::vector<grpc::ByteBuffer> requests;
  for (size_t r = 0, next = 0; r < kRequests; ++r) {
    v1::EmbedBatchRequest request;
    request.set_encoding(input.fp16 ? v1::ENCODING_FLOAT16 : v1::ENCODING_FLOAT32);
    request.set_priority(input.bulk ? v1::PRIORITY_BULK : v1::PRIORITY_INTERACTIVE);
    for (size_t i = 0; i < input.images; ++i) *request.add_inputs() = (*pictures)[next++ % pictures->size()];
    const grpc::Slice slice(request.SerializeAsString());
    requests.emplace_back(&slice, 1);
  }
  return requests;
}

}  // namespace embedd::ctl
