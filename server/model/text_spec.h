// SPDX-License-Identifier: Apache-2.0
//
// What a model folder's config says about its text tower's input, in plain data: no gRPC, no LibTorch. Filled
// by the readers of model folders; taken by Tokenizer::Create (server/prepare/text) and by the text tower.

#pragma once

#include <optional>

namespace embedd {

// Where the vocabulary comes from, and with it the rules of whose library text is split.
enum class TokenizerKind {
  kOpenClip,       // open_clip's built-in BPE: a folder without text_cfg.hf_tokenizer_name
  kTokenizerJson,  // tokenizer.json as the tokenizers library runs it: HF CLIP, SigLIP 2, open_clip's SigLIP
                   // folders
  kSentencePiece,  // spiece.model as transformers' SiglipTokenizer runs it: HF SigLIP folders
};

// What happens to text before it is split. open_clip's modes are text_cfg.tokenizer_kwargs.clean.
enum class TextCleaning {
  kNone,                  // HF CLIP: only what tokenizer.json says
  kLower,                 // SigLIP 2 in HF folders: lower case per character, then tokenizer.json
  kSiglip,                // SigLIP in HF folders: lower case, no ASCII punctuation, single spaces
  kOpenClipLower,         // open_clip's default without hf_tokenizer_name
  kOpenClipWhitespace,    // open_clip's default with hf_tokenizer_name
  kOpenClipCanonicalize,  // SigLIP in open_clip folders
};

// Which position of the text tower is the embedding.
enum class TextPooling { kArgmax, kFirstEos, kLast };

struct TextSpec {
  TokenizerKind tokenizer = TokenizerKind::kOpenClip;
  TextCleaning cleaning = TextCleaning::kOpenClipLower;
  int context_length = 77;
  int vocab_size = 49408;     // rows of the token embedding; a tokenizer with larger ids is refused
  std::optional<int> pad_id;  // absent: what the tokenizer files say
  TextPooling pooling = TextPooling::kArgmax;
  int eos_id = 49407;  // for kFirstEos
};

}  // namespace embedd
