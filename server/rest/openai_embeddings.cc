// SPDX-License-Identifier: Apache-2.0

#include "server/rest/openai_embeddings.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace embedd {
namespace {

using nlohmann::json;

// Strings of `input` are read as they come, so that a picture is held once as base64 and once as bytes, and
// never as a tree of values beside them.
class Sax final : public nlohmann::json_sax<json> {
 public:
  Sax(int max_inputs, EmbeddingsRequest* out, std::string* param)
      : max_inputs_(max_inputs), out_(out), param_(param) {}

  absl::Status status;

  bool null() override { return InInput() ? Scalar("null") : true; }  // not said
  bool boolean(bool value) override {
    if (depth_ == 1 && (key_ == "normalize" || key_ == "normalized")) {
      out_->normalize = value;
      return true;
    }
    return Scalar("true or false");
  }
  bool number_integer(number_integer_t) override {  // a negative one
    if (depth_ == 1 && key_ == "dimensions") return Fail("dimensions", "must be the model's");
    return Scalar("a number");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 1 && key_ == "dimensions") {
      out_->dimensions = static_cast<int64_t>(std::min<number_unsigned_t>(value, 1 << 30));
      return value > 0 || Fail("dimensions", "must be the model's");
    }
    return Scalar("a number");
  }
  bool number_float(number_float_t, const string_t&) override { return Scalar("a number"); }
  bool binary(binary_t&) override { return false; }  // not in JSON

  bool string(string_t& value) override {
    if (InInput()) return depth_ == input_depth_ + 1 && in_object_ ? Member(value) : Element(value);
    if (depth_ != 1) return true;
    if (key_ == "dimensions" || key_ == "normalize" || key_ == "normalized") return PassedOver();
    if (key_ == "model") out_->model = value;
    if (key_ == "expect_fingerprint") out_->expect_fingerprint = value;
    if (key_ == "modality") images_ = value == "image";
    if (key_ == "modality" && value != "image" && value != "text")
      return Fail("modality", "must be text or image");
    if (key_ == "encoding_format" || key_ == "embedding_type") {
      if (value != "float" && value != "base64") return Fail(key_, "must be float or base64");
      out_->base64 = value == "base64";
    }
    if (key_ == "priority") {
      if (value != "interactive" && value != "bulk") return Fail("priority", "must be interactive or bulk");
      out_->bulk = value == "bulk";
    }
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ == 0) {
      ++depth_;
      return true;
    }
    if (InInput()) {
      if (in_object_) return Fail(Place(), absl::StrCat(key_.substr(0, 64), " must be a string"));
      if (!NewElement()) return false;
      in_object_ = true;
      has_content_ = false;
    } else if (!PassedOver()) {
      return false;
    }
    ++depth_;
    return true;
  }
  bool key(string_t& value) override {
    key_ = std::move(value);
    if (depth_ == 1 && key_ == "input") {
      if (seen_) return Fail("input", "is there twice");
      seen_ = true;
    }
    return true;
  }
  bool end_object() override {
    --depth_;
    if (in_object_ && depth_ == input_depth_) {
      in_object_ = false;
      if (!has_content_) return Fail(Place(), "has neither image nor text");
      if (input_depth_ == 1) key_.clear();
    }
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ == 0) return Fail("", "the body must be an object");
    if (InInput()) {
      if (in_object_) return Fail(Place(), absl::StrCat(key_.substr(0, 64), " must be a string"));
      if (depth_ != 1) return Fail(Next(), "lists of tokens are not read; send the text itself");
      input_depth_ = 2;
    } else if (!PassedOver()) {
      return false;
    }
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    if (depth_ == 1) {
      input_depth_ = 1;
      key_.clear();
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    return status.ok() && Fail("", absl::StrCat("the body is no JSON: see its byte ", position));
  }

  // After the last byte.
  absl::Status End() {
    if (!status.ok()) return status;
    if (!seen_) Fail("input", "is missing");
    if (status.ok() && out_->inputs.empty()) Fail("input", "is empty; send at least one");
    for (index_ = 0; status.ok() && images_ && index_ < static_cast<int>(out_->inputs.size()); ++index_) {
      EmbeddingsRequest::Input& input = out_->inputs[static_cast<size_t>(index_)];
      if (input.image || said_[static_cast<size_t>(index_)]) continue;
      std::string text;
      text.swap(input.bytes);
      SetImage(text, &input);
    }
    return status;
  }

 private:
  bool Fail(absl::string_view param, absl::string_view what) {
    *param_ = std::string(param);
    status = absl::InvalidArgumentError(param.empty() ? std::string(what) : absl::StrCat(param, ": ", what));
    return false;
  }

  // Inside the value of "input" of the body.
  bool InInput() const {
    return seen_ && (input_depth_ == 2 || in_object_ || (depth_ == 1 && key_ == "input"));
  }
  std::string Place() const { return absl::StrCat("input[", std::max(0, index_), "]"); }

  // What is neither string, list nor object.
  bool Scalar(absl::string_view what) {
    if (InInput()) {
      if (in_object_) return key_ != "image" && key_ != "text" ? true : Fail(Place(), "must be a string");
      return Fail(depth_ == 1 ? "input" : Next(),
                  absl::StrCat("is ", what, "; send a text, or an object with image"));
    }
    return PassedOver();
  }
  // A value of a kind that the key does not take. Of keys that are read it is an error: to take "false" for
  // not said would be another vector. Others are the client's own.
  bool PassedOver() {
    struct Row {
      absl::string_view key, wanted;
    };
    constexpr Row kRows[] = {{"model", "must be a string"},
                             {"encoding_format", "must be float or base64"},
                             {"embedding_type", "must be float or base64"},
                             {"dimensions", "must be a whole number, the model's"},
                             {"normalize", "must be true or false"},
                             {"normalized", "must be true or false"},
                             {"priority", "must be interactive or bulk"},
                             {"modality", "must be text or image"},
                             {"expect_fingerprint", "must be a string"}};
    for (const Row& row : kRows) {
      if (depth_ == 1 && key_ == row.key) return Fail(row.key, row.wanted);
    }
    return true;
  }
  std::string Next() {
    ++index_;
    return Place();
  }

  bool NewElement() {
    if (static_cast<int>(out_->inputs.size()) == max_inputs_) {
      return Fail("input", absl::StrCat("has more than ", max_inputs_,
                                        " elements, the limit of a request (--max-inputs)"));
    }
    out_->inputs.emplace_back();
    said_.push_back(false);
    ++index_;
    return true;
  }

  bool Element(std::string& value) {
    if (depth_ > input_depth_) return true;  // deeper than anything that is read
    if (!NewElement()) return false;
    if (input_depth_ == 1) key_.clear();
    if (absl::StartsWithIgnoreCase(value, "data:image/") || IsBase64Uri(value))
      return SetImage(value, &out_->inputs.back());
    out_->inputs.back().bytes = std::move(value);
    return true;
  }

  bool Member(std::string& value) {
    if (key_ != "image" && key_ != "text") return true;
    if (has_content_) return Fail(Place(), "has both image and text; send them as two elements");
    has_content_ = true;
    if (key_ == "image") return SetImage(value, &out_->inputs.back());
    said_.back() = true;
    out_->inputs.back().bytes = std::move(value);
    return true;
  }

  bool SetImage(absl::string_view value, EmbeddingsRequest::Input* input) {
    if (absl::StartsWithIgnoreCase(value, "http://") || absl::StartsWithIgnoreCase(value, "https://"))
      return Fail(Place(), "URLs are not fetched; send the file itself, as a data URI or base64");
    if (absl::StartsWithIgnoreCase(value, "data:")) {
      if (!IsBase64Uri(value)) return Fail(Place(), "the data URI is no data:image/TYPE;base64,DATA");
      value.remove_prefix(value.find(',') + 1);
    }
    input->image = true;
    // Of either alphabet: that of URLs has - and _ for + and /.
    if (value.empty() ||
        (!absl::Base64Unescape(value, &input->bytes) && !absl::WebSafeBase64Unescape(value, &input->bytes))) {
      return Fail(Place(), "the image is no base64");
    }
    return true;
  }
  // Whatever its type: whoever does not know it writes application/octet-stream, or none.
  static bool IsBase64Uri(absl::string_view value) {
    if (!absl::StartsWithIgnoreCase(value, "data:")) return false;
    const size_t comma = value.substr(0, 256).find(',');
    return comma != absl::string_view::npos && absl::EndsWithIgnoreCase(value.substr(0, comma), ";base64");
  }

  const int max_inputs_;
  EmbeddingsRequest* const out_;
  std::string* const param_;
  int depth_ = 0;        // of open objects and lists
  int input_depth_ = 1;  // depth at which an element of input stands
  int index_ = -1;       // of the element
  bool seen_ = false, in_object_ = false, has_content_ = false;
  bool images_ = false;     // modality: image
  std::vector<bool> said_;  // of each element: it says itself that it is a text, whatever `modality` says
  std::string key_;
};

void AppendFloat(float value, std::string* out) {
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  out->append(text, end.ptr);
}

std::string Quoted(const std::string& text) {
  return json(text).dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

}  // namespace

absl::Status ParseEmbeddings(absl::string_view body, int max_inputs, EmbeddingsRequest* out,
                             std::string* param) {
  Sax sax(max_inputs, out, param);
  json::sax_parse(body.begin(), body.end(), &sax);
  return sax.End();
}

std::string WriteEmbeddings(absl::string_view data, int dimension, bool base64, const std::string& model,
                            const std::string& fingerprint) {
  const size_t row = static_cast<size_t>(dimension) * sizeof(float), rows = data.size() / row;
  std::string out = "{\"object\":\"list\",\"data\":[";
  out.reserve(data.size() * (base64 ? 4 : 9) / 3 + rows * 64 + 256);
  for (size_t i = 0; i < rows; ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",", "{\"object\":\"embedding\",\"index\":", i, ",\"embedding\":");
    const absl::string_view bytes = data.substr(i * row, row);
    if (base64) {
      absl::StrAppend(&out, "\"", absl::Base64Escape(bytes), "\"}");
      continue;
    }
    for (int k = 0; k < dimension; ++k) {
      float value;
      std::memcpy(&value, bytes.data() + static_cast<size_t>(k) * sizeof(float), sizeof(float));
      out += k == 0 ? '[' : ',';
      AppendFloat(value, &out);
    }
    out += "]}";
  }
  absl::StrAppend(&out, "],\"model\":", Quoted(model),
                  ",\"usage\":{\"prompt_tokens\":0,\"total_tokens\":0},\"system_fingerprint\":",
                  Quoted(fingerprint), "}");
  return out;
}

std::string WriteModel(const std::string& model, int64_t created, bool in_list) {
  const std::string one = absl::StrCat(
      "{\"id\":", Quoted(model), ",\"object\":\"model\",\"created\":", created, ",\"owned_by\":\"embedd\"}");
  return in_list ? absl::StrCat("{\"object\":\"list\",\"data\":[", one, "]}") : one;
}

HttpResponse ErrorResponse(int status, absl::string_view message, absl::string_view param,
                           absl::string_view code) {
  const auto text = [](absl::string_view value) { return value.empty() ? json() : json(std::string(value)); };
  const char* const type = status == 429   ? "rate_limit_error"
                           : status >= 500 ? "server_error"
                                           : "invalid_request_error";
  const json body = {
      {"error",
       {{"message", std::string(message)}, {"type", type}, {"param", text(param)}, {"code", text(code)}}}};
  HttpResponse response{.status = status};
  // What is no UTF-8 in a quoted name becomes U+FFFD; it must not end the process.
  response.body = body.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
  return response;
}

}  // namespace embedd
