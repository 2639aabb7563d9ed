// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes as a tokenizer file, and any text for it. The first byte picks the kind of file
// and the cleaning, the second is how many bytes of text follow; the rest is the file. Ids always fit the
// tower, and the same text has the same ids.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/prepare/text/tokenizer.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

constexpr int kLength = 16, kVocabulary = 1000;

// One folder for the process.
const std::filesystem::path& Folder() {
  static const TempFolder folder = TempFolder::InMemory();
  static const std::filesystem::path path = folder.path();
  return path;
}

void Write(const char* name, const std::string& bytes) {
  std::ofstream(Folder() / name, std::ios::binary) << bytes;
}

void Run(uint8_t choice, const std::string& text, const std::string& file) {
  TextSpec spec;
  spec.context_length = kLength;
  spec.vocab_size = kVocabulary;
  spec.cleaning = static_cast<TextCleaning>(choice / 4 % 6);
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) std::filesystem::remove(entry);
  switch (choice % 4) {
    case 0:
      spec.tokenizer = TokenizerKind::kTokenizerJson;
      Write("tokenizer.json", file);
      break;
    case 1:
      spec.tokenizer = TokenizerKind::kSentencePiece;
      Write("spiece.model", file);
      break;
    case 2: {
      spec.tokenizer = TokenizerKind::kOpenClip;
      const size_t end = file.find('\0');
      Write("vocab.json", file.substr(0, end));
      Write("merges.txt", end == std::string::npos ? "" : file.substr(end + 1));
      break;
    }
    default: {
      spec.tokenizer = TokenizerKind::kTokenizerJson;
      const size_t end = file.find('\0');
      Write("tokenizer.json", file.substr(0, end));
      Write("tokenizer_config.json", end == std::string::npos ? "{}" : file.substr(end + 1));
    }
  }
  const auto tokenizer = Tokenizer::Create(Folder().string(), spec);
  if (!tokenizer.ok()) {
    if (tokenizer.status().message().empty()) std::abort();
    return;
  }
  const Tokenizer::Encoded encoded = (*tokenizer)->Encode(text);
  if (encoded.ids.size() != kLength || encoded.tokens < 0 || encoded.tokens > kLength) std::abort();
  for (const int32_t id : encoded.ids) {
    if (id < 0 || id >= kVocabulary) std::abort();
  }
  if ((*tokenizer)->Encode(text).ids != encoded.ids) std::abort();
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t text = std::min<size_t>(data[1], size - 2);
  const auto* bytes = reinterpret_cast<const char*>(data);
  embedd::Run(data[0], std::string(bytes + 2, text), std::string(bytes + 2 + text, size - 2 - text));
  return 0;
}
