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

// What no CLIP has, so that the fingerprints of those stay what they were.
std::string DescribeRest(const TowerConfig& c, const ImageSpec& i) {
  std::string rest;
  if (c.text()) absl::StrAppend(&rest, " causal ", c.causal);
  if (c.pool == Pool::kAttention)
    absl::StrAppend(&rest, " pool heads ", c.pool_heads, " prefix ", c.pool_prefix);
  if (c.rope.kind != Rope::Kind::kNone) {
    absl::StrAppend(&rest, " rope ", static_cast<int>(c.rope.kind), " theta ",
                    std::bit_cast<uint64_t>(c.rope.theta), " reference ", c.rope.reference, " offset ",
                    std::bit_cast<uint64_t>(c.rope.offset), " columns first ", c.rope.columns_first);
  }
  if (c.positions != Positions::kAll) absl::StrAppend(&rest, " positions ", static_cast<int>(c.positions));
  if (c.position_grid > 0)
    absl::StrAppend(&rest, " position grid ", c.position_grid, " resize ",
                    static_cast<int>(c.position_resize));
  if (c.max_patches > 0) absl::StrAppend(&rest, " patches ", c.max_patches);
  if (c.gated_mlp) absl::StrAppend(&rest, " gated");
  if (i.resize > 0) absl::StrAppend(&rest, " shortest ", i.resize);
  if (i.resize_kind != ResizeKind::kPil8Bit) absl::StrAppend(&rest, " float resize");
  return rest.empty() ? "" : absl::StrCat("family", rest, "\n");
}

// What the weights do not say. Changing this text changes every fingerprint: raise the version then.
std::string Describe(const TowerConfig& v, const ImageSpec& i, Dtype dtype) {
  // Which int8 numbers come out also depends on how the scales are found: raise the 1 when that changes.
  const std::string format = dtype == Dtype::kInt8 ? "int8 recipe 1" : std::string(DtypeWord(dtype));
  return absl::StrCat(
      "embedd fingerprint 1\ntower ", v.image_height, "x", v.image_width, " patch ", v.patch, " heads ",
      v.heads, " ", ActivationName(v.activation), " eps ", std::bit_cast<uint64_t>(v.eps), " pool ",
      v.pool == Pool::kAverage, " ln_after_pool ", v.final_ln_after_pool, "\nimage resize ",
      static_cast<int>(i.resize_mode), " interpolation ", static_cast<int>(i.interpolation), " crop ",
      static_cast<int>(i.crop_rounding), " fill ", i.fill, " mean ", Bits(i.mean), " std ", Bits(i.std),
      i.decode == DecodeMode::kFast ? " decode fast" : "", "\ndtype ", format, "\n", DescribeRest(v, i));
}

// The weights that are used, after `head`.
std::string HashOf(const std::string& head, const TowerWeights& weights) {
  Sha256 hash;
  hash.Add(head.data(), head.size());
  for (const auto& [name, source] : weights.tensors) {
    const std::string line = absl::StrCat(name, " [", absl::StrJoin(source.shape, ","), "] ",
                                          source.transposed, " ", TensorTypeName(source.parts[0].type), "\n");
    hash.Add(line.data(), line.size());
    for (const TensorView& part : source.parts) {
      if (part.data == nullptr) continue;  // zeros
      ForEachPiece(part, [&](const uint8_t* data, size_t bytes) { hash.Add(data, bytes); });
    }
  }
  return absl::BytesToHexString(hash.Finish().substr(0, 16));
}

}  // namespace

std::string Fingerprint(const TowerConfig& vision, const ImageSpec& image, const TowerWeights& weights,
                        Dtype dtype) {
  return HashOf(Describe(vision, image, dtype), weights);
}

std::string TextFingerprint(const TowerConfig& text, const TextSpec& spec, const TowerWeights& weights,
                            const std::string& tokenizer, Dtype dtype) {
  return HashOf(
      absl::StrCat("text\n", Describe(text, ImageSpec{}, dtype), "pooling ", static_cast<int>(spec.pooling),
                   " eos ", spec.eos_id, "\ntokenizer ", tokenizer, "\n"),
      weights);
}

}  // namespace embedd
