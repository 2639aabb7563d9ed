// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/tokenizer_files.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "server/model/json_reader.h"
#include "server/prepare/text/unicode.h"

namespace embedd {
namespace {

using nlohmann::json;

// CLIP's words, as its tokenizer.json files write them.
constexpr absl::string_view kClipPattern = R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
constexpr absl::string_view kClipSpecials = R"(<\|startoftext\|>|<\|endoftext\|>|)";
constexpr double kUnknownPenalty =
    10;  // tokenizers: an unknown character scores that much less than the worst piece
constexpr size_t kMostAdded = 20000;
constexpr size_t kLongestString = 1024;  // in characters: what a step looks for or writes
constexpr size_t kMostSteps = 64;

// Reads one file; keeps the first thing that is wrong with it, so that the reading stays a straight list.
class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  void Wrong(absl::string_view where, absl::string_view what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(file_, ": ", where, ": ", what));
  }
  void NotRead(absl::string_view where, absl::string_view what) {
    if (status_.ok())
      status_ = absl::UnimplementedError(absl::StrCat(file_, ": ", where, ": ", what, " is not read"));
  }
  const absl::Status& status() const { return status_; }

  // The member of an object; nullptr when it is absent or null, or when there is no object.
  static const json* Get(const json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
  }
  std::string Text(const json& object, const char* key, absl::string_view where,
                   absl::string_view fallback = "") {
    const json* value = Get(object, key);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    if (value != nullptr) Wrong(where, absl::StrCat(key, " must be a string"));
    return std::string(fallback);
  }
  bool Flag(const json& object, const char* key, absl::string_view where, bool fallback) {
    const json* value = Get(object, key);
    if (value != nullptr && value->is_boolean()) return value->get<bool>();
    if (value != nullptr) Wrong(where, absl::StrCat(key, " must be true or false"));
    return fallback;
  }
  // "left" or "right", in the spelling of either library; nothing where it is not said.
  std::optional<bool> IsLeft(const json& object, const char* key, absl::string_view where) {
    const std::string side = absl::AsciiStrToLower(Text(object, key, where));
    if (side != "" && side != "left" && side != "right")
      Wrong(where, absl::StrCat(key, " must be left or right"));
    return side == "" ? std::nullopt : std::optional<bool>(side == "left");
  }
  std::optional<int32_t> Id(const json& value, absl::string_view where) {
    if (value.is_number_unsigned() && value.get<uint64_t>() < INT32_MAX)
      return static_cast<int32_t>(value.get<uint64_t>());
    Wrong(where, "must be a token's id");
    return std::nullopt;
  }

  // The parts of a Sequence, or the one part there is; "type" of each is a string.
  std::vector<const json*> Parts(const json& part, const char* list, absl::string_view where) {
    if (Text(part, "type", where) != "Sequence") return {&part};
    const json* parts = Get(part, list);
    std::vector<const json*> all;
    if (parts == nullptr || !parts->is_array()) {
      Wrong(where, absl::StrCat("a Sequence needs ", list));
      return all;
    }
    for (const json& each : *parts) all.push_back(&each);
    return all;
  }

 private:
  const std::string& file_;
  absl::Status status_;
};

std::u32string Wide(const std::string& text) { return ToCodePoints(text); }

// {"String": "x"} or {"Regex": "x"}.
std::pair<std::string, bool> Pattern(Reader& read, const json& part, absl::string_view where) {
  const json* pattern = Reader::Get(part, "pattern");
  if (pattern != nullptr) {
    const json* text = Reader::Get(*pattern, "String");
    const bool regex = text == nullptr;
    if (regex) text = Reader::Get(*pattern, "Regex");
    if (text != nullptr && text->is_string() && !text->get<std::string>().empty())
      return {text->get<std::string>(), regex};
  }
  read.Wrong(where, "needs a pattern, {\"String\": ...} or {\"Regex\": ...}");
  return {};
}

void ReadNormalizer(Reader& read, const json& part, TokenizerJson& out) {
  const absl::string_view where = "normalizer";
  const std::string type = read.Text(part, "type", where);
  NormalizeStep step;
  using Kind = NormalizeStep::Kind;
  if (type == "NFC" || type == "NFKC") {
    step.kind = type == "NFC" ? Kind::kNfc : Kind::kNfkc;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLower;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    step.to = Wide(read.Text(part, "prepend", where));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    step.left = read.Flag(part, "strip_left", where, true);
    step.right = read.Flag(part, "strip_right", where, true);
  } else if (type == "Replace") {
    const auto [pattern, regex] = Pattern(read, part, where);
    step.to = Wide(read.Text(part, "content", where));
    step.kind = regex ? Kind::kReplaceSpaces : Kind::kReplace;
    step.from = Wide(pattern);
    if (regex && pattern == " {2,}") {
      step.any_space = false;
      step.shortest = 2;
    } else if (regex && pattern != "\\s+") {
      read.NotRead(where, absl::StrCat("Replace with the pattern \"", Printable(pattern), "\""));
    }
  } else if (type == "Precompiled") {
    step.kind = Kind::kCharsmap;
    std::string blob;
    if (!absl::Base64Unescape(read.Text(part, "precompiled_charsmap", where), &blob))
      read.Wrong(where, "its charsmap is no base64");
    absl::StatusOr<Charsmap> map = Charsmap::Parse(blob);
    if (!map.ok()) {
      read.Wrong(where, map.status().message());
    } else {
      step.charsmap = *std::move(map);
    }
  } else {
    read.NotRead(where, absl::StrCat("type \"", Printable(type), "\""));
  }
  if (step.to.size() > kLongestString || step.from.size() > kLongestString ||
      out.normalize.size() >= kMostSteps) {
    read.NotRead(where, absl::StrCat("a string of over ", kLongestString, " characters, or the step after ",
                                     kMostSteps));
    return;
  }
  out.normalize.push_back(std::move(step));
}

void ReadPreTokenizer(Reader& read, const json& part, TokenizerJson& out) {
  const absl::string_view where = "pre_tokenizer";
  const std::string type = read.Text(part, "type", where);
  SplitStep step;
  using Kind = SplitStep::Kind;
  if (type == "Split") {
    const auto [pattern, regex] = Pattern(read, part, where);
    const std::string behavior = read.Text(part, "behavior", where);
    const bool invert = read.Flag(part, "invert", where, false);
    if (!regex && pattern == " " && behavior == "MergedWithPrevious" && !invert) {
      step.kind = Kind::kSpaceAtEnd;
    } else if (regex && behavior == "Removed" && invert && pattern == kClipPattern) {
      step.kind = Kind::kClipWords;
    } else if (regex && behavior == "Removed" && invert &&
               pattern == absl::StrCat(kClipSpecials, kClipPattern)) {
      step.kind = Kind::kClipWords;
      step.whole = {U"<|startoftext|>", U"<|endoftext|>"};
    } else {
      read.NotRead(where, absl::StrCat("Split with the pattern \"", Printable(pattern), "\", behavior ",
                                       Printable(behavior)));
    }
  } else if (type == "WhitespaceSplit") {
    step.kind = Kind::kWhitespace;
  } else if (type == "Metaspace") {
    step.kind = Kind::kMetaspace;
    const std::u32string mark = Wide(read.Text(part, "replacement", where, "\xe2\x96\x81"));
    if (mark.size() == 1) {
      step.mark = mark[0];
    } else {
      read.Wrong(where, "replacement must be one character");
    }
    const bool old_prefix = read.Flag(part, "add_prefix_space", where, true);
    const std::string scheme = read.Text(part, "prepend_scheme", where, old_prefix ? "always" : "never");
    step.prepend = scheme == "always";
    if (scheme != "always" && scheme != "never")
      read.NotRead(where, absl::StrCat("prepend_scheme \"", Printable(scheme), "\""));
    step.split = read.Flag(part, "split", where, true);
  } else if (type == "ByteLevel") {
    step.kind = Kind::kBytes;
    if (read.Flag(part, "add_prefix_space", where, true))
      read.NotRead(where, "ByteLevel with add_prefix_space");
    // GPT-2's own pattern finds nothing to cut in CLIP's words; elsewhere it would.
    const bool behind_clip = !out.split.empty() && out.split.back().kind == Kind::kClipWords;
    if (read.Flag(part, "use_regex", where, true) && !behind_clip)
      read.NotRead(where, "ByteLevel with use_regex");
  } else {
    read.NotRead(where, absl::StrCat("type \"", Printable(type), "\""));
  }
  if (out.split.size() >= kMostSteps) return read.NotRead(where, absl::StrCat("the step after ", kMostSteps));
  out.split.push_back(std::move(step));
}

void ReadBpe(Reader& read, const json& model, TokenizerJson& out) {
  const absl::string_view where = "model";
  Bpe& bpe = out.model.emplace<Bpe>();
  const json* vocab = Reader::Get(model, "vocab");
  const json* merges = Reader::Get(model, "merges");
  if (vocab == nullptr || !vocab->is_object() || merges == nullptr || !merges->is_array()) {
    read.Wrong(where, "needs vocab, an object, and merges, a list");
    return;
  }
  for (const auto& [piece, value] : vocab->items()) {
    const auto id = read.Id(value, "model.vocab");
    if (!id) return;
    if (const absl::Status added = bpe.AddPiece(piece, *id); !added.ok())
      return read.Wrong("model.vocab", added.message());
  }
  for (const json& merge : *merges) {
    std::pair<std::string, std::string> pair;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      pair = {merge[0].get<std::string>(), merge[1].get<std::string>()};
    } else if (merge.is_string()) {
      pair = absl::StrSplit(merge.get_ref<const std::string&>(), absl::MaxSplits(' ', 1));
    }
    if (pair.first.empty() || pair.second.empty())
      return read.Wrong("model.merges", "each must be \"a b\" or [\"a\", \"b\"]");
    if (const absl::Status added = bpe.AddMerge(pair.first, pair.second); !added.ok())
      return read.Wrong("model.merges", added.message());
  }
  Bpe::Options options;
  options.end_of_word = read.Text(model, "end_of_word_suffix", where);
  if (options.end_of_word.size() > kLongestString) read.NotRead(where, "an end_of_word_suffix that long");
  options.fuse_unknown = read.Flag(model, "fuse_unk", where, false);
  options.byte_fallback = read.Flag(model, "byte_fallback", where, false);
  options.ignore_merges = read.Flag(model, "ignore_merges", where, false);
  const std::string unknown = read.Text(model, "unk_token", where);
  if (!unknown.empty()) {
    options.unknown = bpe.Find(unknown);
    if (!options.unknown) read.Wrong(where, "unk_token is not in vocab");
  }
  const json* dropout = Reader::Get(model, "dropout");
  if (dropout != nullptr && *dropout != json(0.0)) read.NotRead(where, "dropout");
  if (!read.Text(model, "continuing_subword_prefix", where).empty())
    read.NotRead(where, "continuing_subword_prefix");
  if (options.byte_fallback && !options.end_of_word.empty())
    read.NotRead(where, "byte_fallback with end_of_word_suffix");
  out.model_size = bpe.size();
  bpe.Finish(std::move(options));
}

void ReadUnigram(Reader& read, const json& model, TokenizerJson& out) {
  const absl::string_view where = "model";
  const json* vocab = Reader::Get(model, "vocab");
  if (vocab == nullptr || !vocab->is_array() || vocab->empty())
    return read.Wrong(where, "needs vocab, a list of [piece, score]");
  std::vector<Unigram::Piece> pieces;
  double lowest = HUGE_VAL;
  for (const json& entry : *vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return read.Wrong("model.vocab", absl::StrCat("entry ", pieces.size(), " must be [piece, score]"));
    }
    Unigram::Piece piece{entry[0].get<std::string>(), entry[1].get<double>(),
                         static_cast<int32_t>(pieces.size())};
    lowest = std::min(lowest, piece.score);
    out.unigram_ids.emplace_back(piece.text, piece.id);
    pieces.push_back(std::move(piece));
  }
  std::sort(out.unigram_ids.begin(), out.unigram_ids.end());
  out.model_size = static_cast<int64_t>(pieces.size());
  const json* unknown_id = Reader::Get(model, "unk_id");
  const auto unknown = unknown_id == nullptr ? std::nullopt : read.Id(*unknown_id, "model.unk_id");
  if (!unknown || *unknown >= out.model_size) return read.Wrong("model.unk_id", "must be the id of a piece");
  Unigram::Unknown run{*unknown, lowest - kUnknownPenalty, {}};
  if (read.Flag(model, "byte_fallback", where, false)) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto id = out.Find(absl::StrFormat("<0x%02X>", byte));
      if (!id) return read.Wrong(where, absl::StrFormat("byte_fallback needs the piece <0x%02X>", byte));
      run.byte_ids.push_back(*id);
    }
  }
  // The pieces of no characters that some files hold can never be taken.
  std::erase_if(pieces, [](const Unigram::Piece& piece) { return piece.text.empty(); });
  const absl::Status built =
      out.model.emplace<Unigram>().Build(std::move(pieces), std::move(run), Unigram::Arithmetic::kTokenizers);
  if (!built.ok()) read.Wrong("model.vocab", built.message());
}

void ReadAdded(Reader& read, const json& list, TokenizerJson& out) {
  const absl::string_view where = "added_tokens";
  if (!list.is_array() || list.size() > kMostAdded)
    return read.Wrong(where, absl::StrCat("must be a list of at most ", kMostAdded));
  for (const json& entry : list) {
    const json* id = Reader::Get(entry, "id");
    AddedToken token;
    token.text = Wide(read.Text(entry, "content", where));
    token.left_strip = read.Flag(entry, "lstrip", where, false);
    token.right_strip = read.Flag(entry, "rstrip", where, false);
    token.normalized = read.Flag(entry, "normalized", where, false);
    const auto number = id == nullptr ? std::nullopt : read.Id(*id, where);
    if (!number || token.text.empty()) return read.Wrong(where, "each needs id and content");
    if (read.Flag(entry, "single_word", where, false)) read.NotRead(where, "single_word");
    token.id = *number;
    out.added.push_back(std::move(token));
  }
}

void ReadPostProcessor(Reader& read, const json& part, TokenizerJson& out) {
  const absl::string_view where = "post_processor";
  const std::string type = read.Text(part, "type", where);
  if (type == "ByteLevel") return;  // moves offsets only
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    for (const auto& [key, ids] : {std::pair{"cls", &out.before}, std::pair{"sep", &out.after}}) {
      const json* token = Reader::Get(part, key);
      const auto id = token != nullptr && token->is_array() && token->size() == 2
                          ? read.Id((*token)[1], where)
                          : std::nullopt;
      if (!id) return read.Wrong(where, absl::StrCat(key, " must be [token, id]"));
      ids->push_back(*id);
    }
    return;
  }
  if (type != "TemplateProcessing")
    return read.NotRead(where, absl::StrCat("type \"", Printable(type), "\""));
  const json* single = Reader::Get(part, "single");
  const json* tokens = Reader::Get(part, "special_tokens");
  if (single == nullptr || !single->is_array()) return read.Wrong(where, "needs single, a list");
  int sequences = 0;
  for (const json& piece : *single) {
    if (Reader::Get(piece, "Sequence") != nullptr) {
      ++sequences;
      continue;
    }
    const json* special = Reader::Get(piece, "SpecialToken");
    const std::string name = special == nullptr ? "" : read.Text(*special, "id", where);
    const json* token = tokens == nullptr || name.empty() ? nullptr : Reader::Get(*tokens, name.c_str());
    const json* ids = token == nullptr ? nullptr : Reader::Get(*token, "ids");
    if (ids == nullptr || !ids->is_array())
      return read.Wrong(where, "single names a token that special_tokens lacks");
    for (const json& value : *ids) {
      if (const auto id = read.Id(value, where)) (sequences == 0 ? out.before : out.after).push_back(*id);
    }
  }
  if (sequences != 1) read.NotRead(where, "a template without its one sequence");
}

}  // namespace

std::optional<int32_t> TokenizerJson::Find(absl::string_view token) const {
  if (const Bpe* bpe = std::get_if<Bpe>(&model)) {
    if (const auto id = bpe->Find(token)) return id;
  }
  const auto at = std::lower_bound(unigram_ids.begin(), unigram_ids.end(), token,
                                   [](const auto& a, absl::string_view b) { return a.first < b; });
  if (at != unigram_ids.end() && at->first == token) return at->second;
  for (const AddedToken& each : added) {
    if (ToUtf8(each.text) == token) return each.id;
  }
  return std::nullopt;
}

absl::StatusOr<TokenizerJson> ReadTokenizerJson(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  Reader read(file);
  TokenizerJson out;
  const json* model = Reader::Get(*parsed, "model");
  if (model == nullptr || !model->is_object())
    return absl::InvalidArgumentError(absl::StrCat(file, ": model: is missing"));
  // Files of before 2021 do not say the type.
  const json* vocab = Reader::Get(*model, "vocab");
  const bool listed = vocab != nullptr && vocab->is_array();
  const std::string type = read.Text(*model, "type", "model", listed ? "Unigram" : "BPE");
  if (type == "BPE") {
    ReadBpe(read, *model, out);
  } else if (type == "Unigram") {
    ReadUnigram(read, *model, out);
  } else {
    read.NotRead("model", absl::StrCat("type \"", Printable(type), "\""));
  }
  if (const json* part = Reader::Get(*parsed, "normalizer")) {
    for (const json* each : read.Parts(*part, "normalizers", "normalizer")) ReadNormalizer(read, *each, out);
  }
  if (const json* part = Reader::Get(*parsed, "pre_tokenizer")) {
    for (const json* each : read.Parts(*part, "pretokenizers", "pre_tokenizer"))
      ReadPreTokenizer(read, *each, out);
  }
  if (const json* part = Reader::Get(*parsed, "post_processor")) {
    for (const json* each : read.Parts(*part, "processors", "post_processor"))
      ReadPostProcessor(read, *each, out);
  }
  if (const json* list = Reader::Get(*parsed, "added_tokens")) ReadAdded(read, *list, out);
  if (const json* padding = Reader::Get(*parsed, "padding")) {
    if (const json* id = Reader::Get(*padding, "pad_id")) out.pad_id = read.Id(*id, "padding.pad_id");
    out.pad_left = read.IsLeft(*padding, "direction", "padding");
  }
  if (const json* truncation = Reader::Get(*parsed, "truncation"))
    out.cut_left = read.IsLeft(*truncation, "direction", "truncation");
  if (!read.status().ok()) return read.status();
  return out;
}

absl::StatusOr<Bpe> ReadVocabAndMerges(absl::string_view vocab, const std::string& vocab_file,
                                       absl::string_view merges, const std::string& merges_file) {
  absl::StatusOr<json> parsed = ParseJson(vocab, vocab_file);
  if (!parsed.ok()) return parsed.status();
  Reader read(vocab_file);
  Bpe bpe;
  if (!parsed->is_object()) read.Wrong("the top level", "must be an object");
  for (const auto& [piece, value] : parsed->items()) {
    const auto id = read.Id(value, "each value");
    if (!id) break;
    if (const absl::Status added = bpe.AddPiece(piece, *id); !added.ok())
      read.Wrong("vocabulary", added.message());
  }
  if (!read.status().ok()) return read.status();
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(merges, '\n')) {
    if (++number == 1 && line.substr(0, 8) == "#version") continue;
    if (line.empty()) continue;
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const absl::Status added = bpe.AddMerge(pair.first, pair.second);
    if (!added.ok())
      return absl::InvalidArgumentError(absl::StrCat(merges_file, ": line ", number, ": ", added.message()));
  }
  return bpe;
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view text, const std::string& file) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  Reader read(file);
  TokenizerConfig config;
  if (!parsed->is_object()) read.Wrong("the top level", "must be an object");
  for (const auto& [key, value] :
       {std::pair{"pad_token", &config.pad_token}, std::pair{"bos_token", &config.bos_token},
        std::pair{"eos_token", &config.eos_token}, std::pair{"unk_token", &config.unk_token}}) {
    const json* token = Reader::Get(*parsed, key);
    if (token == nullptr) continue;
    *value = token->is_object() ? read.Text(*token, "content", key) : read.Text(*parsed, key, key);
  }
  for (const auto& [key, value] :
       {std::pair{"add_bos_token", &config.add_bos}, std::pair{"add_eos_token", &config.add_eos}}) {
    if (Reader::Get(*parsed, key) != nullptr) *value = read.Flag(*parsed, key, key, false);
  }
  config.pad_left = read.IsLeft(*parsed, "padding_side", "padding_side");
  config.cut_left = read.IsLeft(*parsed, "truncation_side", "truncation_side");
  config.tokenizer_class = read.Text(*parsed, "tokenizer_class", "tokenizer_class");
  config.lower_case = read.Flag(*parsed, "do_lower_case", "do_lower_case", true);
  if (!read.status().ok()) return read.status();
  return config;
}

}  // namespace embedd
