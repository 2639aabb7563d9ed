// SPDX-License-Identifier: Apache-2.0

#include "server/model/fingerprint.h"

#include <openssl/evp.h>

#include <bit>
#include <memory>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace embedd {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void Add(const void* data, size_t bytes) { EVP_DigestUpdate(context_.get(), data, bytes); }
  std::string Finish() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context_.get(), digest, &size);
    return std::string(reinterpret_cast<const char*>(digest), size);
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Floats by their bits: no rounding in print, no locale.
std::string Bits(const std::array<float, 3>& values) {
  return absl::StrCat(std::bit_cast<uint32_t>(values[0]), ",", std::bit_cast<uint32_t>(values[1]), ",",
                      std::bit_cast<uint32_t>(values[2]));
}

// What the weights do not say. Changing this text changes every fingerprint: raise the version then.
std::string Describe(const VisionConfig& v, const ImageSpec& i, const std::string& dtype) {
  // Which int8 numbers come out also depends on how the scales are found: raise the 1 when that changes.
  const std::string format = dtype == "int8" ? "int8 recipe 1" : dtype;
  return absl::StrCat(
      "embedd fingerprint 1\ntower ", v.image_height, "x", v.image_width, " patch ", v.patch, " heads ",
      v.heads, " ", ActivationName(v.activation), " eps ", std::bit_cast<uint64_t>(v.eps), " pool ",
      v.pool == Pool::kAverage, " ln_after_pool ", v.final_ln_after_pool, "\nimage resize ",
      static_cast<int>(i.resize_mode), " interpolation ", static_cast<int>(i.interpolation), " crop ",
      static_cast<int>(i.crop_rounding), " fill ", i.fill, " mean ", Bits(i.mean), " std ", Bits(i.std),
      i.decode == DecodeMode::kFast ? " decode fast" : "", "\ndtype ", format, "\n");
}

}  // namespace

std::string Fingerprint(const VisionConfig& vision, const ImageSpec& image, const VisionWeights& weights,
                        const std::string& dtype) {
  Sha256 hash;
  const std::string head = Describe(vision, image, dtype);
  hash.Add(head.data(), head.size());
  for (const auto& [name, source] : weights.tensors) {
    const std::string line = absl::StrCat(name, " [", absl::StrJoin(source.shape, ","), "] ",
                                          source.transposed, " ", TensorTypeName(source.parts[0].type), "\n");
    hash.Add(line.data(), line.size());
    for (const TensorView& part : source.parts) {
      ForEachPiece(part, [&](const uint8_t* data, size_t bytes) { hash.Add(data, bytes); });
    }
  }
  return absl::BytesToHexString(hash.Finish().substr(0, 16));
}

}  // namespace embedd
