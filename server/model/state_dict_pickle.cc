// SPDX-License-Identifier: Apache-2.0

#include "server/model/state_dict_pickle.h"

#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

// Everything a pickle may name here. Anything else could be code.
enum class Global { kOrderedDict, kRebuildTensor, kStorage };
struct KnownGlobal {
  absl::string_view module;
  absl::string_view name;
  Global global;
};
constexpr KnownGlobal kKnownGlobals[] = {
    {"collections", "OrderedDict", Global::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Global::kRebuildTensor},
    {"torch", "FloatStorage", Global::kStorage},
    {"torch", "HalfStorage", Global::kStorage},
    {"torch", "BFloat16Storage", Global::kStorage},
    {"torch", "DoubleStorage", Global::kStorage},
    {"torch", "LongStorage", Global::kStorage},
};

// Far beyond any model, and what a hostile file could make of a few bytes.
constexpr size_t kMostValues = 4 << 20, kMostDims = 16, kLongestKey = 256;

using Ref = uint32_t;  // of a value in Machine::values_

struct Value {
  // kStorage: what a persistent id named; kTensor: what _rebuild_tensor_v2 would have made.
  enum Kind {
    kNone,
    kInt,
    kFloat,
    kText,
    kTuple,
    kList,
    kDict,
    kGlobal,
    kStorage,
    kTensor,
    kMark
  } kind = kNone;
  int64_t number = 0;      // kInt; kGlobal: the index into kKnownGlobals
  absl::string_view text;  // kText
  std::vector<Ref> items;  // kTuple, kList, kStorage and kTensor: its parts; kDict: keys and values in turn
};

absl::string_view KindName(Value::Kind kind) {
  constexpr absl::string_view kNames[] = {"None",   "a number", "a number",  "a string", "a tuple", "a list",
                                          "a dict", "a name",   "a storage", "a tensor", "a mark"};
  return kNames[kind];
}

class Machine {
 public:
  Machine(absl::string_view pickle, const std::string& file)
      : rest_(pickle), size_(pickle.size()), file_(file) {}

  // Runs to STOP and returns the tensors of what is left.
  absl::StatusOr<std::vector<PickledTensor>> Run();

 private:
  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ": data.pkl: ", message));
  }
  absl::Status TensorError(absl::string_view tensor, absl::string_view message) const {
    return Error(absl::StrCat("tensor \"", Printable(tensor), "\": ", message));
  }
  absl::Status Refused(absl::string_view what) const {
    return absl::UnimplementedError(
        absl::StrCat(file_, ": data.pkl: ", what, " is not among what a state dict of tensors needs"));
  }
  absl::Status Truncated() const { return Error("ends early"); }

  absl::Status Step(uint8_t code);
  absl::Status PushGlobal();
  absl::Status PushPersistent();
  absl::Status Reduce();
  absl::Status Build();
  absl::Status MakeTuple(size_t count);
  absl::Status Append(size_t first);
  absl::Status SetItems(size_t first);
  absl::Status PushText(uint64_t size);
  absl::Status PushLong();
  absl::Status Memoize(uint64_t slot);
  absl::Status PushMemo(uint64_t slot);

  Ref Make(Value value) {
    values_.push_back(std::move(value));
    return static_cast<Ref>(values_.size() - 1);
  }
  absl::Status Push(Value value) {
    stack_.push_back(Make(std::move(value)));
    return absl::OkStatus();
  }
  absl::Status PushInt(int64_t number) { return Push({Value::kInt, number, {}, {}}); }
  // The value `depth` below the top; null when the stack is not so deep.
  Value* Top(size_t depth = 0) {
    return depth < stack_.size() ? &values_[stack_[stack_.size() - 1 - depth]] : nullptr;
  }
  // The place on the stack of what follows the last mark, which is taken away.
  std::optional<size_t> PopMark();
  // The next number of the pickle, little-endian.
  template <typename Number>
  std::optional<uint64_t> Next() {
    if (rest_.size() < sizeof(Number)) return std::nullopt;
    Number number;
    std::memcpy(&number, rest_.data(), sizeof(number));
    rest_.remove_prefix(sizeof(number));
    return static_cast<uint64_t>(number);
  }
  std::optional<absl::string_view> NextLine();

  absl::StatusOr<std::vector<PickledTensor>> Tensors(const Value& dict) const;
  absl::StatusOr<PickledTensor> Tensor(absl::string_view name, const Value& tensor) const;
  std::optional<std::vector<int64_t>> Numbers(const Value& tuple) const;

  absl::string_view rest_;
  const size_t size_;
  const std::string& file_;
  std::vector<Value> values_;
  std::vector<Ref> stack_;
  std::map<uint64_t, Ref> memo_;
};

absl::StatusOr<std::vector<PickledTensor>> Machine::Run() {
  if (rest_.size() < 2 || rest_[0] != '\x80') return Error("is not a pickle of protocol 2");
  if (rest_[1] != 2)
    return Refused(absl::StrCat("protocol ", static_cast<int>(static_cast<uint8_t>(rest_[1]))));
  rest_.remove_prefix(2);
  while (true) {
    if (rest_.empty()) return Truncated();
    const uint8_t code = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    if (code == '.') break;
    if (absl::Status status = Step(code); !status.ok()) return status;
    if (values_.size() > kMostValues) return Error("holds too many values");
  }
  if (stack_.size() != 1) return Error("leaves more or less than one object");
  const Value* top = Top();
  if (top->kind != Value::kDict)
    return Error(absl::StrCat("is no state dict: ", KindName(top->kind), " at the top"));
  for (size_t i = 0; i < top->items.size(); i += 2) {
    const Value& inner = values_[top->items[i + 1]];
    if (values_[top->items[i]].text == "state_dict" && inner.kind == Value::kDict) return Tensors(inner);
  }
  return Tensors(*top);
}

absl::Status Machine::Step(uint8_t code) {
  switch (code) {
    case 'c':
      return PushGlobal();
    case 'Q':
      return PushPersistent();
    case 'R':
      return Reduce();
    case 'b':
      return Build();
    case '(':
      return Push({Value::kMark, 0, {}, {}});
    case ')':
      return Push({Value::kTuple, 0, {}, {}});
    case ']':
      return Push({Value::kList, 0, {}, {}});
    case '}':
      return Push({Value::kDict, 0, {}, {}});
    case 'N':
      return Push({Value::kNone, 0, {}, {}});
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      return PushInt(code == 0x88);
    case 0x85:  // TUPLE1
    case 0x86:
    case 0x87:
      return MakeTuple(code - 0x84);
    case 't': {
      const std::optional<size_t> first = PopMark();
      return first ? MakeTuple(stack_.size() - *first) : Error("a tuple without a mark");
    }
    case 'a':
      return stack_.empty() ? Truncated() : Append(stack_.size() - 1);
    case 'e': {
      const std::optional<size_t> first = PopMark();
      return first ? Append(*first) : Error("items without a mark");
    }
    case 's':
      return stack_.size() < 2 ? Truncated() : SetItems(stack_.size() - 2);
    case 'u': {
      const std::optional<size_t> first = PopMark();
      return first ? SetItems(*first) : Error("items without a mark");
    }
    case 'X': {
      const auto size = Next<uint32_t>();
      return size ? PushText(*size) : Truncated();
    }
    case 'K': {
      const auto number = Next<uint8_t>();
      return number ? PushInt(static_cast<int64_t>(*number)) : Truncated();
    }
    case 'M': {
      const auto number = Next<uint16_t>();
      return number ? PushInt(static_cast<int64_t>(*number)) : Truncated();
    }
    case 'J': {
      const auto number = Next<int32_t>();
      return number ? PushInt(static_cast<int64_t>(*number)) : Truncated();
    }
    case 0x8a:
      return PushLong();
    case 'G':  // a float; its value means nothing here
      return Next<uint64_t>() ? Push({Value::kFloat, 0, {}, {}}) : Truncated();
    case 'q': {
      const auto slot = Next<uint8_t>();
      return slot ? Memoize(*slot) : Truncated();
    }
    case 'r': {
      const auto slot = Next<uint32_t>();
      return slot ? Memoize(*slot) : Truncated();
    }
    case 'h': {
      const auto slot = Next<uint8_t>();
      return slot ? PushMemo(*slot) : Truncated();
    }
    case 'j': {
      const auto slot = Next<uint32_t>();
      return slot ? PushMemo(*slot) : Truncated();
    }
    default:
      return Refused(absl::StrCat("the instruction 0x", absl::Hex(code, absl::kZeroPad2), " at byte ",
                                  size_ - rest_.size() - 1));
  }
}

std::optional<absl::string_view> Machine::NextLine() {
  const size_t end = rest_.find('\n');
  if (end == absl::string_view::npos) return std::nullopt;
  const absl::string_view line = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return line;
}

absl::Status Machine::PushGlobal() {
  const auto module = NextLine(), name = module ? NextLine() : std::nullopt;
  if (!name) return Truncated();
  for (size_t i = 0; i < std::size(kKnownGlobals); ++i) {
    if (kKnownGlobals[i].module == *module && kKnownGlobals[i].name == *name) {
      return Push({Value::kGlobal, static_cast<int64_t>(i), {}, {}});
    }
  }
  return Refused(absl::StrCat("\"", Printable(absl::StrCat(*module, ".", *name)), "\""));
}

// ('storage', torch.FloatStorage, '0', 'cpu', 1024)
absl::Status Machine::PushPersistent() {
  const Value* id = Top();
  if (id == nullptr || id->kind != Value::kTuple || id->items.size() != 5) {
    return Error("a persistent id that is no storage");
  }
  const Value &word = values_[id->items[0]], &type = values_[id->items[1]], &key = values_[id->items[2]],
              &elements = values_[id->items[4]];
  if (word.kind != Value::kText || word.text != "storage" || type.kind != Value::kGlobal ||
      kKnownGlobals[type.number].global != Global::kStorage || key.kind != Value::kText ||
      elements.kind != Value::kInt) {
    return Error("a persistent id that is no storage");
  }
  Value storage{Value::kStorage, elements.number, {}, id->items};
  stack_.pop_back();
  return Push(std::move(storage));
}

absl::Status Machine::Reduce() {
  const Value *arguments = Top(), *callee = Top(1);
  if (callee == nullptr || arguments->kind != Value::kTuple || callee->kind != Value::kGlobal) {
    return Error("a call of what is no name");
  }
  Value made;
  const KnownGlobal& global = kKnownGlobals[callee->number];
  if (global.global == Global::kOrderedDict && arguments->items.empty()) {
    made.kind = Value::kDict;
  } else if (global.global == Global::kRebuildTensor) {
    // storage, offset, shape, strides, requires_grad, hooks, and sometimes metadata
    const std::vector<Ref>& items = arguments->items;
    if (items.size() < 6 || items.size() > 7 || values_[items[0]].kind != Value::kStorage ||
        values_[items[1]].kind != Value::kInt || values_[items[2]].kind != Value::kTuple ||
        values_[items[3]].kind != Value::kTuple) {
      return Error("_rebuild_tensor_v2 with arguments that make no tensor");
    }
    made.kind = Value::kTensor;
    made.items = items;
  } else {
    return Refused(absl::StrCat("a call of ", global.module, ".", global.name, " with ",
                                arguments->items.size(), " arguments"));
  }
  stack_.resize(stack_.size() - 2);
  return Push(std::move(made));
}

// A state dict has an attribute, _metadata: versions of the modules. Nothing of it is needed.
absl::Status Machine::Build() {
  const Value *state = Top(), *object = Top(1);
  if (object == nullptr) return Truncated();
  if (object->kind != Value::kDict || state->kind != Value::kDict) {
    return Refused(absl::StrCat("a state for ", KindName(object->kind)));
  }
  stack_.pop_back();
  return absl::OkStatus();
}

std::optional<size_t> Machine::PopMark() {
  for (size_t i = stack_.size(); i > 0; --i) {
    if (values_[stack_[i - 1]].kind != Value::kMark) continue;
    stack_.erase(stack_.begin() + static_cast<std::ptrdiff_t>(i) - 1);
    return i - 1;
  }
  return std::nullopt;
}

absl::Status Machine::MakeTuple(size_t count) {
  if (stack_.size() < count) return Truncated();
  Value tuple{Value::kTuple, 0, {}, {stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end()}};
  stack_.resize(stack_.size() - count);
  return Push(std::move(tuple));
}

absl::Status Machine::Append(size_t first) {
  if (first == 0 || values_[stack_[first - 1]].kind != Value::kList)
    return Error("items for what is no list");
  std::vector<Ref>& items = values_[stack_[first - 1]].items;
  items.insert(items.end(), stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
  stack_.resize(first);
  return absl::OkStatus();
}

absl::Status Machine::SetItems(size_t first) {
  if (first == 0 || values_[stack_[first - 1]].kind != Value::kDict)
    return Error("items for what is no dict");
  if ((stack_.size() - first) % 2 != 0) return Error("a key without a value");
  std::vector<Ref>& items = values_[stack_[first - 1]].items;
  items.insert(items.end(), stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
  stack_.resize(first);
  return absl::OkStatus();
}

absl::Status Machine::PushText(uint64_t size) {
  if (rest_.size() < size) return Truncated();
  Value text{Value::kText, 0, rest_.substr(0, size), {}};
  rest_.remove_prefix(size);
  return Push(std::move(text));
}

// A number of up to 8 bytes, two's complement; a size or an offset is never longer.
absl::Status Machine::PushLong() {
  const auto size = Next<uint8_t>();
  if (!size || rest_.size() < *size) return Truncated();
  if (*size > 8) return Refused(absl::StrCat("a number of ", *size, " bytes"));
  uint64_t number = 0;
  if (*size > 0 && static_cast<int8_t>(rest_[*size - 1]) < 0) number = ~uint64_t{0};
  std::memcpy(&number, rest_.data(), *size);
  rest_.remove_prefix(*size);
  return PushInt(static_cast<int64_t>(number));
}

absl::Status Machine::Memoize(uint64_t slot) {
  if (stack_.empty()) return Truncated();
  memo_[slot] = stack_.back();
  return absl::OkStatus();
}

absl::Status Machine::PushMemo(uint64_t slot) {
  const auto it = memo_.find(slot);
  if (it == memo_.end()) return Error("a value is used before it is there");
  stack_.push_back(it->second);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PickledTensor>> Machine::Tensors(const Value& dict) const {
  std::vector<PickledTensor> tensors;
  std::set<absl::string_view> seen;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const Value &key = values_[dict.items[i]], &value = values_[dict.items[i + 1]];
    if (key.kind != Value::kText) {
      return Error(absl::StrCat("is no state dict: ", KindName(key.kind), " as the name of a tensor"));
    }
    if (!seen.insert(key.text).second) return TensorError(key.text, "is there twice");
    if (value.kind != Value::kTensor) {
      return TensorError(key.text, absl::StrCat("is ", KindName(value.kind), ": this is no state dict"));
    }
    absl::StatusOr<PickledTensor> tensor = Tensor(key.text, value);
    if (!tensor.ok()) return tensor.status();
    tensors.push_back(*std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<PickledTensor> Machine::Tensor(absl::string_view name, const Value& value) const {
  const Value &storage = values_[value.items[0]], &key = values_[storage.items[2]];
  if (key.text.size() > kLongestKey) return TensorError(name, "bad storage key");
  const auto shape = Numbers(values_[value.items[2]]), strides = Numbers(values_[value.items[3]]);
  if (!shape || !strides) return TensorError(name, "bad shape or strides");
  const KnownGlobal& type = kKnownGlobals[values_[storage.items[1]].number];
  return PickledTensor{std::string(name), std::string(type.name),         std::string(key.text),
                       storage.number,    values_[value.items[1]].number, *shape,
                       *strides};
}

std::optional<std::vector<int64_t>> Machine::Numbers(const Value& tuple) const {
  std::vector<int64_t> numbers;
  if (tuple.items.size() > kMostDims) return std::nullopt;
  for (const Ref item : tuple.items) {
    if (values_[item].kind != Value::kInt) return std::nullopt;
    numbers.push_back(values_[item].number);
  }
  return numbers;
}

}  // namespace

absl::StatusOr<std::vector<PickledTensor>> ReadStateDictPickle(absl::string_view pickle,
                                                               const std::string& file) {
  return Machine(pickle, file).Run();
}

}  // namespace embedd
