// SPDX-License-Identifier: Apache-2.0
//
// Small folders of each kind. That ids equal those of the libraries is shown by tests/parity/text.

#include "server/prepare/text/tokenizer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/prepare/text/text_steps.h"
#include "server/prepare/text/unicode.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

using Ids = std::vector<int32_t>;

// CLIP's layout with two merges: bytes 0 to 255, with </w> 256 to 511, "ca" 512, "cat</w>" 513, specials 514
// and 515.
std::string ClipVocabulary() {
  std::string vocab = "{";
  for (int end = 0; end < 2; ++end) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string symbol;
      AppendUtf8(symbol, ByteSymbol(static_cast<uint8_t>(byte)));
      symbol = absl::StrReplaceAll(symbol, {{"\\", "\\\\"}, {"\"", "\\\""}});
      absl::StrAppend(&vocab, "\"", symbol, end ? "</w>" : "", "\":", end * 256 + byte, ",");
    }
  }
  return vocab + R"("ca":512,"cat</w>":513,"<|startoftext|>":514,"<|endoftext|>":515})";
}

TextSpec Spec(TokenizerKind kind, TextCleaning cleaning, int length) {
  TextSpec spec;
  spec.tokenizer = kind;
  spec.cleaning = cleaning;
  spec.context_length = length;
  spec.vocab_size = 516;
  return spec;
}

std::string Refusal(const std::string& folder, const TextSpec& spec) {
  return std::string(Tokenizer::Create(folder, spec).status().message());
}

TEST_CASE("An open_clip folder: start, words, end, zeros; a long text keeps its end") {
  const TempFolder folder;
  folder.Write("vocab.json", ClipVocabulary());
  folder.Write("merges.txt", "#version: 0.2\nc a\nca t</w>\n");
  TextSpec spec = Spec(TokenizerKind::kOpenClip, TextCleaning::kOpenClipLower, 6);
  auto made = Tokenizer::Create(folder.path(), spec);
  REQUIRE(made.ok());
  const Tokenizer& tokenizer = **made;
  CHECK(tokenizer.Encode("Cat\xc2\xa0 CATS").ids == Ids{514, 513, 512, 't', 256 + 's', 515});
  CHECK(tokenizer.Encode("cat").ids == Ids{514, 513, 515, 0, 0, 0});
  CHECK(tokenizer.Encode("cat").tokens == 3);
  CHECK(tokenizer.Encode("").ids == Ids{514, 515, 0, 0, 0, 0});
  CHECK(tokenizer.Encode("cat cat cat cat cat cat").ids == Ids{514, 513, 513, 513, 513, 515});
  CHECK(tokenizer.Encode("cat cat cats").ids == Ids{514, 513, 513, 512, 't', 515});
  CHECK(tokenizer.Encode("<end_of_text>").ids == Ids{514, 515, 515, 0, 0, 0});  // as open_clip
  CHECK((tokenizer.lowercases() && tokenizer.eos_id() == 515 && tokenizer.pad_id() == 0 &&
         tokenizer.context_length() == 6));
  spec.pad_id = 7;
  CHECK((*Tokenizer::Create(folder.path(), spec))->Encode("").ids == Ids{514, 515, 7, 7, 7, 7});

  spec.vocab_size = 515;
  CHECK_THAT(Refusal(folder.path(), spec),
             ContainsSubstring("holds 516 tokens, but the text tower knows 515"));
  spec = Spec(TokenizerKind::kOpenClip, TextCleaning::kOpenClipLower, 2);
  CHECK_THAT(Refusal(folder.path(), spec), ContainsSubstring("a context of 2 tokens leaves no room"));
  folder.Write("vocab.json", R"({"a":0,"<|startoftext|>":1,"<|endoftext|>":2})");
  folder.Write("merges.txt", "");
  CHECK_THAT(Refusal(folder.path(), spec), ContainsSubstring("hold no CLIP vocabulary"));
}

TEST_CASE("A text of any length and content is bounded, and bytes that are no UTF-8 are taken") {
  const TempFolder folder;
  folder.Write("vocab.json", ClipVocabulary());
  folder.Write("merges.txt", "c a\nca t</w>\n");
  const auto tokenizer =
      Tokenizer::Create(folder.path(), Spec(TokenizerKind::kOpenClip, TextCleaning::kOpenClipLower, 8));
  REQUIRE(tokenizer.ok());
  const std::string spaces(Tokenizer::kLongestText - 3, ' ');
  CHECK((*tokenizer)->Encode(spaces + "cat cat").tokens == 3);  // the second is cut off
  CHECK((*tokenizer)->Encode(std::string(1 << 20, 'x')).tokens == 8);
  CHECK((*tokenizer)->Encode("\xff").ids == (*tokenizer)->Encode("\xef\xbf\xbd").ids);
}

// A word-level shape of SigLIP 2's file: BPE with bytes, pads 0, an added token, and what the tower has no
// row for.
const char* const kJson = R"({
  "added_tokens": [{"id": 4, "content": "<img>", "lstrip": true, "rstrip": false, "normalized": false, "special": true},
                   {"id": 900, "content": "<far>", "normalized": false}],
  "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
  "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
  "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "<eos>", "type_id": 0}}], "special_tokens": {"<eos>": {"id": "<eos>", "ids": [1], "tokens": ["<eos>"]}}},
  "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
    "vocab": {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<img>": 4, "a": 5, "b": 6, "_": 7, "_a": 8, "<": 9, "f": 10},
    "merges": [["_", "a"]]}})";

TEST_CASE(
    "A tokenizer.json: added tokens first, then its steps; tokenizer_config.json says what stands around a "
    "text") {
  const TempFolder folder;
  folder.Write("tokenizer.json", kJson);
  const TextSpec spec = Spec(TokenizerKind::kTokenizerJson, TextCleaning::kLower, 6);
  CHECK((*Tokenizer::Create(folder.path(), spec))->Encode("A a").ids == Ids{5, 8, 1, 1, 1, 1});
  folder.Write("tokenizer_config.json",
               R"({"pad_token": {"content": "<pad>"}, "add_bos_token": true, "add_eos_token": true,
      "bos_token": "<bos>", "eos_token": "<eos>"})");
  const auto tokenizer = Tokenizer::Create(folder.path(), spec);
  REQUIRE(tokenizer.ok());
  CHECK((*tokenizer)->Encode("A a").ids == Ids{2, 5, 8, 1, 0, 0});
  CHECK((*tokenizer)->Encode("b <img>b").ids == Ids{2, 6, 4, 6, 1, 0});
  CHECK((*tokenizer)->Encode("<far").ids == Ids{2, 9, 10, 5, 3, 1});
  CHECK((*tokenizer)->lowercases());
  folder.Write("tokenizer_config.json", R"({"pad_token": "<none>"})");
  CHECK_THAT(Refusal(folder.path(), spec),
             ContainsSubstring("tokenizer_config.json: pad_token: no such token"));
  folder.Write("tokenizer_config.json", R"({"padding_side": "left"})");
  CHECK((*Tokenizer::Create(folder.path(), spec))->Encode("b").ids == Ids{1, 1, 1, 1, 6, 1});
}

TEST_CASE("A folder without its file is told which, and how to get it") {
  const TempFolder folder;
  for (const auto& [kind, name] : {std::pair{TokenizerKind::kOpenClip, "tokenizer.json"},
                                   std::pair{TokenizerKind::kTokenizerJson, "tokenizer.json"},
                                   std::pair{TokenizerKind::kSentencePiece, "spiece.model"}}) {
    const auto status = Tokenizer::Create(folder.path(), Spec(kind, TextCleaning::kNone, 8)).status();
    CHECK(status.code() == absl::StatusCode::kNotFound);
    CHECK_THAT(std::string(status.message()),
               ContainsSubstring(absl::StrCat(folder.path(), "/", name, ": is missing")) &&
                   ContainsSubstring(absl::StrCat("hf download OWNER/MODEL ", name)));
  }
}

}  // namespace
}  // namespace embedd
