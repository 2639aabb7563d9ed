// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/tokenizer_rules.h"

#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/prepare/text/sentencepiece.h"
#include "server/prepare/text/text_cleaning.h"
#include "server/prepare/text/tokenizer_files.h"
#include "server/prepare/text/unicode.h"
#include "server/support/utf8.h"

namespace embedd {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kLargestFile = 256 << 20;  // SigLIP 2's tokenizer.json is 34 MB

std::string Sha256(absl::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

absl::Status Missing(const TokenizerFolder& folder, const std::string& name) {
  return absl::NotFoundError(absl::StrCat(
      folder.Path(name),
      ": is missing; texts need it. Get it from where the model came from:\n  hf download OWNER/MODEL ", name,
      " --local-dir ", folder.Path("")));
}

absl::Status TooLarge(const std::string& file, int64_t size, const TextSpec& spec) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": holds ", size, " tokens, but the text tower knows ", spec.vocab_size));
}

// ---- open_clip's SimpleTokenizer ----

class OpenClipRules : public TokenizerRules {
 public:
  OpenClipRules(Bpe bpe, TextCleaning cleaning, int32_t start, int32_t end)
      : bpe_(std::move(bpe)), cleaning_(cleaning) {
    before = {start};
    after = {end};
    lowercases = cleaning != TextCleaning::kOpenClipWhitespace && cleaning != TextCleaning::kNone;
    words_.kind = SplitStep::Kind::kClipWords;
    words_.whole = {U"<start_of_text>", U"<end_of_text>"};
    words_.ignore_case = true;
    bytes_.kind = SplitStep::Kind::kBytes;
  }

  std::vector<int32_t> Content(std::u32string_view text, size_t most) const override {
    std::vector<int32_t> ids;
    for (const std::u32string& word : Split(CleanText(text, cleaning_), {words_})) {
      if (ids.size() >= most) break;
      if (word == words_.whole[0] || word == words_.whole[1]) {
        ids.push_back(word == words_.whole[0] ? before[0] : after[0]);
        continue;
      }
      bpe_.Encode(ToUtf8(Split(word, {bytes_})[0]), ids);
    }
    return ids;
  }

 private:
  const Bpe bpe_;
  const TextCleaning cleaning_;
  SplitStep words_, bytes_;
};

absl::StatusOr<Bpe> ReadClipVocabulary(TokenizerFolder& folder) {
  if (folder.Has("tokenizer.json")) {
    absl::StatusOr<std::string> text = folder.Read("tokenizer.json");
    if (!text.ok()) return text.status();
    absl::StatusOr<TokenizerJson> file = ReadTokenizerJson(*text, folder.Path("tokenizer.json"));
    if (!file.ok()) return file.status();
    if (Bpe* bpe = std::get_if<Bpe>(&file->model)) return std::move(*bpe);
    return absl::InvalidArgumentError(
        absl::StrCat(folder.Path("tokenizer.json"), ": model: must be CLIP's BPE, is Unigram"));
  }
  if (!folder.Has("vocab.json") || !folder.Has("merges.txt")) return Missing(folder, "tokenizer.json");
  absl::StatusOr<std::string> vocab = folder.Read("vocab.json"), merges = folder.Read("merges.txt");
  if (!vocab.ok()) return vocab.status();
  if (!merges.ok()) return merges.status();
  return ReadVocabAndMerges(*vocab, folder.Path("vocab.json"), *merges, folder.Path("merges.txt"));
}

// ---- tokenizer.json ----

struct Section {
  std::u32string_view text;
  int32_t id = -1;  // of the added token that it is
};

// Tokens that are cut out of a text, the longest that begins at a place first.
class AddedTokens {
 public:
  void Add(AddedToken token) {
    if (token.text.empty()) return;
    std::vector<AddedToken>& same = by_first_[token.text[0]];
    const auto shorter = [&](const AddedToken& other) { return other.text.size() < token.text.size(); };
    same.insert(std::find_if(same.begin(), same.end(), shorter), token);
  }

  std::vector<Section> Cut(std::u32string_view text) const {
    std::vector<Section> sections;
    size_t begin = 0;
    for (size_t i = 0; i < text.size();) {
      const AddedToken* found = Find(text.substr(i));
      if (found == nullptr) {
        ++i;
        continue;
      }
      size_t from = i, to = i + found->text.size();
      while (found->left_strip && from > begin && IsWhiteSpace(text[from - 1])) --from;
      while (found->right_strip && to < text.size() && IsWhiteSpace(text[to])) ++to;
      if (from > begin) sections.push_back({text.substr(begin, from - begin)});
      sections.push_back({{}, found->id});
      begin = i = to;
    }
    if (begin < text.size()) sections.push_back({text.substr(begin)});
    return sections;
  }

 private:
  const AddedToken* Find(std::u32string_view text) const {
    const auto same = by_first_.find(text[0]);
    if (same == by_first_.end()) return nullptr;
    for (const AddedToken& token : same->second) {
      if (text.substr(0, token.text.size()) == token.text) return &token;
    }
    return nullptr;
  }

  absl::flat_hash_map<char32_t, std::vector<AddedToken>> by_first_;
};

class JsonRules : public TokenizerRules {
 public:
  JsonRules(TokenizerJson file, TextCleaning cleaning) : file_(std::move(file)), cleaning_(cleaning) {
    for (AddedToken token : file_.added) {
      if (token.normalized) token.text = Normalize(token.text, file_.normalize);
      (token.normalized ? normalized_ : plain_).Add(std::move(token));
    }
  }

  std::vector<int32_t> Content(std::u32string_view text, size_t most) const override {
    std::vector<int32_t> ids;
    const std::u32string clean = CleanText(text, cleaning_);
    for (const Section& section : plain_.Cut(clean)) {
      if (ids.size() >= most) break;
      if (section.id >= 0) {
        ids.push_back(section.id);
        continue;
      }
      const std::u32string normal = Normalize(section.text, file_.normalize);
      for (const Section& part : normalized_.Cut(normal)) {
        if (part.id >= 0) {
          ids.push_back(part.id);
        } else {
          Words(part.text, most, ids);
        }
      }
    }
    return ids;
  }

  const TokenizerJson& file() const { return file_; }

 private:
  void Words(std::u32string_view text, size_t most, std::vector<int32_t>& ids) const {
    for (const std::u32string& word : Split(text, file_.split)) {
      if (ids.size() >= most) return;
      std::visit([&](const auto& model) { model.Encode(ToUtf8(word), ids); }, file_.model);
    }
  }

  TokenizerJson file_;
  const TextCleaning cleaning_;
  AddedTokens plain_, normalized_;
};

// What tokenizer_config.json says, and of tokens that it does not name special_tokens_map.json, as old
// folders have them; nothing where there is neither. Of the `whole` config the hash of the folder is made;
// else of what it makes of the rules.
absl::StatusOr<TokenizerConfig> ReadConfigOf(TokenizerFolder& folder, bool whole) {
  TokenizerConfig config;
  constexpr char kConfig[] = "tokenizer_config.json", kMap[] = "special_tokens_map.json";
  if (folder.Has(kConfig)) {
    absl::StatusOr<std::string> text = whole ? folder.Read(kConfig) : folder.Peek(kConfig);
    if (!text.ok()) return text.status();
    absl::StatusOr<TokenizerConfig> read = ReadTokenizerConfig(*text, folder.Path(kConfig));
    if (!read.ok()) return read.status();
    config = *std::move(read);
  }
  if (!folder.Has(kMap)) return config;
  absl::StatusOr<std::string> text = folder.Peek(kMap);
  if (!text.ok()) return text.status();
  const absl::StatusOr<TokenizerConfig> map = ReadTokenizerConfig(*text, folder.Path(kMap));
  if (!map.ok()) return map.status();
  for (std::string TokenizerConfig::*token : {&TokenizerConfig::pad_token, &TokenizerConfig::bos_token,
                                              &TokenizerConfig::eos_token, &TokenizerConfig::unk_token}) {
    if ((config.*token).empty()) config.*token = (*map).*token;
  }
  return config;
}

// What a class of transformers takes where no file says it.
struct ClassDefaults {
  absl::string_view name, pad_token;
  bool pad_left;
};
constexpr ClassDefaults kClassDefaults[] = {
    {"GemmaTokenizer", "<pad>", true}, {"Siglip2Tokenizer", "<pad>", true}, {"T5Tokenizer", "<pad>", false}};

void FillFromClass(const TokenizerJson& file, TokenizerConfig& config) {
  absl::string_view name = config.tokenizer_class;
  absl::ConsumeSuffix(&name, "Fast");
  for (const ClassDefaults& row : kClassDefaults) {
    if (name != row.name) continue;
    if (config.pad_token.empty() && file.Find(row.pad_token)) config.pad_token = std::string(row.pad_token);
    if (!config.pad_left && !file.pad_left) config.pad_left = row.pad_left;
  }
}

// ---- spiece.model, as transformers' SiglipTokenizer runs it ----

class SiglipRules : public TokenizerRules {
 public:
  SiglipRules(SentencePiece model, int32_t end, int32_t unknown, const TokenizerConfig& config)
      : model_(std::move(model)), mark_(model_.Find(kMark)) {
    after = {end};
    pad_id = end;
    pad_left = config.pad_left.value_or(false);
    cut_left = config.cut_left.value_or(false);
    lowercases = config.lower_case;
    end_once = true;
    specials_ = {{U"<unk>", unknown}, {U"</s>", end}};
    if (const int32_t pad = model_.Find(config.pad_token); pad >= 0 && pad != end) {
      pad_id = pad;
      specials_.emplace_back(ToCodePoints(config.pad_token), pad);
    }
    // The library puts the unknown token before each part, so that the model adds no space of its own there,
    // and takes as many ids away again.
    lead_ = model_.Encode(kLead).size();
  }

  std::vector<int32_t> Content(std::u32string_view text, size_t most) const override {
    std::u32string marked = U"\u2581";
    for (const char32_t c : text) marked += c == 0x2581 ? U' ' : c;
    std::vector<int32_t> ids;
    bool trim = false;                 // the token before takes the spaces that follow
    bool mark_before_special = false;  // the library drops a mark that then stands alone
    for (size_t at = 0, begin = 0; at <= marked.size() && ids.size() < most + 1;) {
      const auto special = std::find_if(specials_.begin(), specials_.end(), [&](const auto& each) {
        return std::u32string_view(marked).substr(at, each.first.size()) == each.first;
      });
      if (at < marked.size() && special == specials_.end()) {
        ++at;
        continue;
      }
      std::u32string_view part = std::u32string_view(marked).substr(begin, at - begin);
      while (trim && !part.empty() && IsPythonSpace(part.front())) part.remove_prefix(1);
      while (at < marked.size() && !part.empty() && IsPythonSpace(part.back())) part.remove_suffix(1);
      if (!part.empty()) Part(part, ids);
      if (at == marked.size()) break;
      mark_before_special = mark_before_special || (ids.size() == 1 && ids[0] == mark_);
      ids.push_back(special->second);
      trim = true;
      begin = at += special->first.size();
    }
    if (mark_before_special) ids.erase(ids.begin());
    return ids;
  }

 private:
  static constexpr absl::string_view kMark = "\xe2\x96\x81", kLead = "<unk>";

  void Part(std::u32string_view text, std::vector<int32_t>& ids) const {
    const std::vector<int32_t> all =
        model_.Encode(absl::StrCat(kLead, ToUtf8(CleanAsSiglip(text, lowercases))));
    ids.insert(ids.end(), all.begin() + static_cast<std::ptrdiff_t>(all.size() >= lead_ ? lead_ : 0),
               all.end());
  }

  const SentencePiece model_;
  const int32_t mark_;
  std::vector<std::pair<std::u32string, int32_t>> specials_;
  size_t lead_ = 0;
};

}  // namespace

bool TokenizerFolder::Has(const std::string& name) const {
  std::error_code error;
  return fs::is_regular_file(fs::path(path_) / name, error);
}

std::string TokenizerFolder::Path(const std::string& name) const {
  return name.empty() ? path_ : (fs::path(path_) / name).string();
}

absl::StatusOr<std::string> TokenizerFolder::Read(const std::string& name) {
  absl::StatusOr<std::string> bytes = Peek(name);
  if (bytes.ok()) digests_.push_back(absl::StrCat(name, " ", Sha256(*bytes)));
  return bytes;
}

absl::StatusOr<std::string> TokenizerFolder::Peek(const std::string& name) const {
  const std::string path = Path(name);
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path, ": cannot be read: ", error.message()));
  if (size > kLargestFile) return absl::InvalidArgumentError(absl::StrCat(path, ": is over 256 MiB"));
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || (size > 0 && !(text << in.rdbuf())))
    return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return std::move(text).str();
}

std::string TokenizerFolder::Hash(absl::string_view salt) const {
  std::string all = absl::StrCat(salt, "\n");
  for (const std::string& digest : digests_) absl::StrAppend(&all, digest, "\n");
  return Sha256(all);
}

absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeOpenClipRules(TokenizerFolder& folder,
                                                                  const TextSpec& spec) {
  absl::StatusOr<Bpe> bpe = ReadClipVocabulary(folder);
  if (!bpe.ok()) return bpe.status();
  Bpe::Options options;
  options.end_of_word = "</w>";
  bpe->Finish(options);
  const auto find = [&](absl::string_view a, absl::string_view b) {
    return bpe->Find(a) ? bpe->Find(a) : bpe->Find(b);
  };
  const auto start = find("<|startoftext|>", "<start_of_text>"), end = find("<|endoftext|>", "<end_of_text>");
  bool complete = start && end;
  for (int byte = 0; byte < 256; ++byte) {
    std::string symbol;
    AppendUtf8(symbol, ByteSymbol(static_cast<uint8_t>(byte)));
    complete = complete && bpe->Find(symbol) && bpe->Find(symbol + "</w>");
  }
  if (!complete) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder.Path(""),
                     ": its tokenizer files hold no CLIP vocabulary (256 bytes, alone and with </w>, "
                     "<|startoftext|>, <|endoftext|>)"));
  }
  if (bpe->size() > spec.vocab_size) return TooLarge(folder.Path(""), bpe->size(), spec);
  return std::make_unique<OpenClipRules>(*std::move(bpe), spec.cleaning, *start, *end);
}

absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeJsonRules(TokenizerFolder& folder, const TextSpec& spec) {
  if (!folder.Has("tokenizer.json")) return Missing(folder, "tokenizer.json");
  absl::StatusOr<std::string> text = folder.Read("tokenizer.json");
  if (!text.ok()) return text.status();
  const std::string path = folder.Path("tokenizer.json");
  absl::StatusOr<TokenizerJson> file = ReadTokenizerJson(*text, path);
  if (!file.ok()) return file.status();
  text->clear();
  absl::StatusOr<TokenizerConfig> read = ReadConfigOf(folder, /*whole=*/true);
  if (!read.ok()) return read.status();
  TokenizerConfig config = *std::move(read);
  FillFromClass(*file, config);
  if (file->model_size > spec.vocab_size) return TooLarge(path, file->model_size, spec);
  // What the tower has no row for stays plain text.
  std::erase_if(file->added, [&](const AddedToken& token) { return token.id >= spec.vocab_size; });
  // Gemma's tokenizers: what is written around a text is the config's to say, where it says it.
  const Bpe* bpe = std::get_if<Bpe>(&file->model);
  if (bpe != nullptr && bpe->options().byte_fallback && (config.add_bos || config.add_eos)) {
    file->before.clear();
    file->after.clear();
    for (const auto& [wanted, token, ids] : {std::tuple{config.add_bos, config.bos_token, &file->before},
                                             std::tuple{config.add_eos, config.eos_token, &file->after}}) {
      if (!wanted.value_or(false)) continue;
      const auto id = file->Find(token);
      if (!id)
        return absl::InvalidArgumentError(absl::StrCat(
            folder.Path("tokenizer_config.json"), ": bos_token, eos_token: no such token in tokenizer.json"));
      ids->push_back(*id);
    }
  }
  std::optional<int32_t> pad = file->pad_id;
  if (!config.pad_token.empty()) {
    pad = file->Find(config.pad_token);
    if (!pad)
      return absl::InvalidArgumentError(
          absl::StrCat(folder.Path("tokenizer_config.json"), ": pad_token: no such token in tokenizer.json"));
  }
  if (spec.cleaning == TextCleaning::kLower) {
    NormalizeStep lower;
    lower.kind = NormalizeStep::Kind::kLower;
    file->normalize.insert(file->normalize.begin(), lower);
  }
  const bool lowercases =
      std::any_of(file->normalize.begin(), file->normalize.end(),
                  [](const NormalizeStep& step) { return step.kind == NormalizeStep::Kind::kLower; });
  auto rules = std::make_unique<JsonRules>(*std::move(file), spec.cleaning);
  rules->before = rules->file().before;
  rules->after = rules->file().after;
  rules->pad_id = pad.value_or(rules->after.empty() ? 0 : rules->after.back());
  rules->pad_left = config.pad_left.value_or(rules->file().pad_left.value_or(false));
  rules->cut_left = config.cut_left.value_or(rules->file().cut_left.value_or(false));
  rules->lowercases = lowercases || spec.cleaning == TextCleaning::kSiglip ||
                      spec.cleaning == TextCleaning::kOpenClipLower ||
                      spec.cleaning == TextCleaning::kOpenClipCanonicalize;
  return rules;
}

absl::StatusOr<std::unique_ptr<TokenizerRules>> MakeSiglipRules(TokenizerFolder& folder,
                                                                const TextSpec& spec) {
  if (!folder.Has("spiece.model")) return Missing(folder, "spiece.model");
  absl::StatusOr<std::string> bytes = folder.Read("spiece.model");
  if (!bytes.ok()) return bytes.status();
  const std::string path = folder.Path("spiece.model");
  absl::StatusOr<SentencePiece> model = SentencePiece::Parse(*bytes, path);
  if (!model.ok()) return model.status();
  if (model->size() > spec.vocab_size) return TooLarge(path, model->size(), spec);
  const int32_t end = model->Find("</s>"), unknown = model->Find("<unk>");
  if (end < 0 || unknown < 0)
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no </s> or no <unk>"));
  const absl::StatusOr<TokenizerConfig> config = ReadConfigOf(folder, /*whole=*/false);
  if (!config.ok()) return config.status();
  for (const auto& [key, token, read] : {std::tuple{"eos_token", config->eos_token, "</s>"},
                                         std::tuple{"unk_token", config->unk_token, "<unk>"}}) {
    if (token.empty() || token == read) continue;
    return absl::UnimplementedError(absl::StrCat(folder.Path("tokenizer_config.json"), ": ", key, ": \"",
                                                 CutUtf8(token, 64), "\" is not read, ", read, " is"));
  }
  if (!config->pad_token.empty() && model->Find(config->pad_token) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder.Path("tokenizer_config.json"), ": pad_token: no such token in spiece.model"));
  }
  return std::make_unique<SiglipRules>(*std::move(model), end, unknown, *config);
}

}  // namespace embedd
