// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/infer_message.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

using Request = inference::ModelInferRequest;
using Tensor = Request::InferInputTensor;
using Parameters = google::protobuf::Map<std::string, inference::InferParameter>;

constexpr char kImage[] = "image", kText[] = "text", kEmbedding[] = "embedding";
// Of failed inputs in a message: how many are explained, in how many bytes, and in how many the others are
// listed.
constexpr size_t kMostExplained = 16, kLongestExplained = 1400, kLongestList = 400;

std::string ShapeText(const Tensor& tensor) {
  const int shown = std::min(tensor.shape_size(), 8);
  return absl::StrCat("[", absl::StrJoin(tensor.shape().begin(), tensor.shape().begin() + shown, ", "),
                      shown < tensor.shape_size() ? ", ..." : "", "]");
}

// The inputs from `first` on, rows of them as "16-1023", as far as there is room.
std::string Listed(const std::vector<InputFailure>& failures, size_t first, absl::string_view row) {
  std::string list;
  for (size_t i = first; i < failures.size();) {
    size_t last = i;
    while (!row.empty() && last + 1 < failures.size() && failures[last + 1].index == failures[last].index + 1)
      ++last;
    if (list.size() > kLongestList) return absl::StrCat(list, ",...");
    absl::StrAppend(&list, list.empty() ? "" : ",", failures[i].index);
    if (last > i) absl::StrAppend(&list, row, failures[last].index);
    i = last + 1;
  }
  return list;
}

// The elements of a BYTES tensor: each has its length in four bytes, little-endian, in front.
std::optional<CallFailure> SplitBytes(absl::string_view raw, int64_t count, const std::string& field,
                                      std::vector<absl::string_view>* out) {
  for (int64_t i = 0; i < count; ++i) {
    if (raw.size() < 4) {
      return InvalidRequest(field, absl::StrCat("ends after ", i, " of ", count,
                                                " elements (each has its length in 4 bytes before it)"));
    }
    size_t size = 0;
    for (int byte = 3; byte >= 0; --byte) size = size << 8 | static_cast<unsigned char>(raw[byte]);
    raw.remove_prefix(4);
    if (raw.size() < size) {
      return InvalidRequest(
          field, absl::StrCat("element ", i, " is said to have ", size, " bytes, ", raw.size(), " are left"));
    }
    out->push_back(raw.substr(0, size));
    raw.remove_prefix(size);
  }
  if (!raw.empty()) {
    return InvalidRequest(field,
                          absl::StrCat("holds ", raw.size(), " bytes more than its ", count, " elements"));
  }
  return std::nullopt;
}

class Reader {
 public:
  Reader(const Request& request, const RequestLimits& limits, v1::EmbedBatchRequest* out)
      : request_(request), limits_(limits), out_(out) {}

  std::optional<CallFailure> ReadTensor() {
    if (request_.inputs_size() != 1) {
      return InvalidRequest(
          "inputs", absl::StrCat("has ", request_.inputs_size(), " tensors; send one, image or text"));
    }
    const Tensor& tensor = request_.inputs(0);
    if (!tensor.parameters().empty()) {
      return InvalidRequest("inputs[0].parameters",
                            absl::StrCat("\"", CutUtf8(tensor.parameters().begin()->first, 64),
                                         "\" is not known (there is no shared memory here)"));
    }
    const bool raw = request_.raw_input_contents_size() > 0;
    if (raw && (request_.raw_input_contents_size() != 1 || tensor.contents().ByteSizeLong() > 0)) {
      return InvalidRequest("raw_input_contents",
                            "must hold one element for each input, and no input contents");
    }
    if (tensor.name() != kImage && tensor.name() != kText) {
      return InvalidRequest("inputs[0].name",
                            absl::StrCat("is \"", CutUtf8(tensor.name(), 64), "\"; must be image or text"));
    }
    if (tensor.datatype() == "BYTES") return ReadBytes(tensor, raw);
    if (tensor.datatype() == "UINT8" && tensor.name() == kImage) return ReadPixels(tensor, raw);
    return InvalidRequest("inputs[0].datatype",
                          absl::StrCat("is \"", CutUtf8(tensor.datatype(), 64), "\"; must be BYTES",
                                       tensor.name() == kImage ? " (files) or UINT8 (pixels)" : ""));
  }

 private:
  std::optional<CallFailure> CheckCount(int64_t count) const {
    if (count < 1) return InvalidRequest("inputs[0].shape", "is of no elements; send at least one");
    if (count <= limits_.max_inputs) return std::nullopt;
    return InvalidRequest("inputs[0].shape", absl::StrCat("is of ", count, " elements; the limit is ",
                                                          limits_.max_inputs, " a request (--max-inputs)"));
  }

  std::optional<CallFailure> ReadBytes(const Tensor& tensor, bool raw) {
    const bool column = tensor.shape_size() == 2 && tensor.shape(1) == 1;  // as batching models have it
    if (tensor.shape_size() != 1 && !column) {
      return InvalidRequest("inputs[0].shape", absl::StrCat("is ", ShapeText(tensor), "; BYTES are [n]"));
    }
    const int64_t count = tensor.shape(0);
    if (auto failure = CheckCount(count)) return failure;
    std::vector<absl::string_view> elements;
    if (raw) {
      if (auto failure =
              SplitBytes(request_.raw_input_contents(0), count, "raw_input_contents[0]", &elements)) {
        return failure;
      }
    } else {
      const auto& contents = tensor.contents().bytes_contents();
      elements.assign(contents.begin(), contents.end());
      if (static_cast<int64_t>(elements.size()) != count) {
        return InvalidRequest("inputs[0].contents.bytes_contents",
                              absl::StrCat("has ", elements.size(), " elements, the shape says ", count));
      }
    }
    for (size_t i = 0; i < elements.size(); ++i) {
      v1::Input* const input = out_->add_inputs();
      if (tensor.name() == kImage) {
        input->set_image(elements[i].data(), elements[i].size());
      } else if (IsUtf8(elements[i])) {
        input->set_text(elements[i].data(), elements[i].size());
      } else {
        return InvalidRequest(absl::StrCat("inputs[", i, "]"), "the text is no UTF-8");
      }
    }
    return std::nullopt;
  }

  std::optional<CallFailure> ReadPixels(const Tensor& tensor, bool raw) {
    if (tensor.shape_size() != 4 || tensor.shape(3) != 3 || tensor.shape(1) < 1 || tensor.shape(2) < 1 ||
        tensor.shape(1) > kMaxRawSide || tensor.shape(2) > kMaxRawSide) {
      return InvalidRequest("inputs[0].shape",
                            absl::StrCat("is ", ShapeText(tensor), "; UINT8 is [n, height, width, 3]"));
    }
    const int64_t count = tensor.shape(0), height = tensor.shape(1), width = tensor.shape(2);
    if (auto failure = CheckCount(count)) return failure;
    const int64_t size = raw ? static_cast<int64_t>(request_.raw_input_contents(0).size())
                             : tensor.contents().uint_contents_size();
    const int64_t image = 3 * height * width;  // at most 3 * 2^48
    if (size % image != 0 || size / image != count) {
      return InvalidRequest(
          raw ? "raw_input_contents[0]" : "inputs[0].contents.uint_contents",
          absl::StrCat("has ", size, " bytes; the shape ", ShapeText(tensor), " says ", count, " * ", image));
    }
    for (int64_t i = 0; i < count; ++i) {
      v1::RawImage* const out = out_->add_inputs()->mutable_raw_image();
      out->set_width(static_cast<uint32_t>(width));
      out->set_height(static_cast<uint32_t>(height));
      if (raw) {
        out->set_rgb(request_.raw_input_contents(0).data() + i * image, static_cast<size_t>(image));
        continue;
      }
      std::string* const rgb = out->mutable_rgb();
      rgb->reserve(static_cast<size_t>(image));
      for (int64_t at = i * image; at < (i + 1) * image; ++at) {
        const uint32_t value = tensor.contents().uint_contents(static_cast<int>(at));
        if (value > 255) return InvalidRequest("inputs[0].contents.uint_contents", "holds numbers over 255");
        rgb->push_back(static_cast<char>(value));
      }
    }
    return std::nullopt;
  }

  const Request& request_;
  const RequestLimits& limits_;
  v1::EmbedBatchRequest* const out_;
};

// A number that is not negative, of either kind; nothing for anything else.
std::optional<uint64_t> Number(const inference::InferParameter& parameter) {
  if (parameter.parameter_choice_case() == inference::InferParameter::kUint64Param)
    return parameter.uint64_param();
  if (parameter.parameter_choice_case() == inference::InferParameter::kInt64Param &&
      parameter.int64_param() >= 0) {
    return static_cast<uint64_t>(parameter.int64_param());
  }
  return std::nullopt;
}

// Parameters of other names belong to what lies before this server.
std::optional<CallFailure> ReadParameters(const Parameters& parameters, v1::EmbedBatchRequest* out,
                                          absl::Duration* timeout) {
  using Parameter = inference::InferParameter;
  for (const auto& [name, value] : parameters) {
    const std::string field = absl::StrCat("parameters.", name);
    if (name == "priority") {
      const std::optional<uint64_t> number = Number(value);
      const std::string& word = value.string_param();
      if (word == "bulk" || number == 2u) {
        out->set_priority(v1::PRIORITY_BULK);
      } else if (word != "interactive" && number.value_or(3) > 1) {
        return InvalidRequest(field, "must be interactive (0 or 1) or bulk (2)");
      }
    } else if (name == "normalize") {
      if (value.parameter_choice_case() != Parameter::kBoolParam)
        return InvalidRequest(field, "must be a bool");
      out->set_normalize(value.bool_param());
    } else if (name == "expect_fingerprint") {
      if (value.parameter_choice_case() != Parameter::kStringParam)
        return InvalidRequest(field, "must be a string");
      out->set_expect_fingerprint(value.string_param());
    } else if (name == "timeout") {
      const std::optional<uint64_t> number = Number(value);
      if (!number) return InvalidRequest(field, "must be a number of microseconds");
      constexpr uint64_t kYear = uint64_t{365} * 24 * 3600 * 1'000'000;
      if (*number > 0 && *number < kYear) *timeout = absl::Microseconds(static_cast<int64_t>(*number));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<CallFailure> ReadInfer(const Request& request, const ModelSpec& model,
                                     const RequestLimits& limits, v1::EmbedBatchRequest* out,
                                     absl::Duration* timeout) {
  if (auto failure = CheckModelName(request.model_name(), request.model_version(), model)) return failure;
  for (int i = 0; i < request.outputs_size(); ++i) {
    const std::string field = absl::StrCat("outputs[", i, "]");
    if (request.outputs(i).name() != kEmbedding) {
      return InvalidRequest(
          absl::StrCat(field, ".name"),
          absl::StrCat("is \"", CutUtf8(request.outputs(i).name(), 64), "\"; the one output is embedding"));
    }
    if (!request.outputs(i).parameters().empty()) {
      return InvalidRequest(
          absl::StrCat(field, ".parameters"),
          absl::StrCat("\"", CutUtf8(request.outputs(i).parameters().begin()->first, 64), "\" is not known"));
    }
  }
  if (auto failure = ReadParameters(request.parameters(), out, timeout)) return failure;
  return Reader(request, limits, out).ReadTensor();
}

std::optional<CallFailure> CheckModelName(const std::string& name, const std::string& version,
                                          const ModelSpec& model) {
  if (name == model.name && (version.empty() || version == kInferVersion)) return std::nullopt;
  return CallFailure{
      .status = absl::NotFoundError(absl::StrCat(
          "no model \"", CutUtf8(name, 128), "\"", version.empty() ? "" : ", version ", CutUtf8(version, 32),
          "; this server has \"", model.name, "\", version ", kInferVersion)),
      .reason = Reason::kInvalidRequest,
      .field = name == model.name ? "model_version" : "model_name"};
}

CallFailure JoinFailures(const std::vector<InputFailure>& failures) {
  std::string message;
  size_t explained = 0;
  for (const InputFailure& failure : failures) {
    if (explained == kMostExplained || message.size() > kLongestExplained) break;
    absl::StrAppend(&message, explained++ == 0 ? "" : "; ", "inputs[", failure.index,
                    "]: ", std::string(ReasonWord(failure.reason)), ": ", failure.status.message());
  }
  if (explained < failures.size()) {
    absl::StrAppend(&message, "; and ", failures.size() - explained, " more: inputs[",
                    Listed(failures, explained, "-"), "]");
  }
  return {.status = absl::Status(failures[0].status.code(), message),
          .reason = failures[0].reason,
          .field = absl::StrCat("inputs[", failures[0].index, "]"),
          .metadata = {{"inputs", Listed(failures, 0, "")}}};
}

void FillInfer(CallResult result, const ModelSpec& model, int inputs, const std::string& fingerprint,
               std::string id, inference::ModelInferResponse* response) {
  response->set_model_name(model.name);
  response->set_model_version(kInferVersion.data(), kInferVersion.size());
  response->set_id(std::move(id));
  (*response->mutable_parameters())["fingerprint"].set_string_param(fingerprint);
  auto* const output = response->add_outputs();
  output->set_name(kEmbedding);
  output->set_datatype("FP32");
  output->add_shape(inputs);
  output->add_shape(model.dimension);
  response->add_raw_output_contents(std::move(result.data));
}

void FillModelMetadata(const ModelSpec& model, inference::ModelMetadataResponse* response) {
  const auto fill = [](const std::string& name, const std::string& type, std::initializer_list<int64_t> shape,
                       auto* out) {
    out->set_name(name);
    out->set_datatype(type);
    for (const int64_t size : shape) out->add_shape(size);
  };
  response->set_name(model.name);
  response->add_versions(std::string(kInferVersion));
  response->set_platform("embedd");
  if (model.Serves(Tower::kImage)) fill(kImage, "BYTES", {-1}, response->add_inputs());
  if (model.Serves(Tower::kText)) fill(kText, "BYTES", {-1}, response->add_inputs());
  fill(kEmbedding, "FP32", {-1, model.dimension}, response->add_outputs());
}

}  // namespace embedd
