// SPDX-License-Identifier: Apache-2.0

#include "server/model/checkpoint.h"

#include <cstring>

#include "tests/support/catch.h"
#include "tests/support/checkpoint_file.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

// What lies in a file, and the file that the views point into.
struct Opened {
  std::unique_ptr<MappedFile> file;
  absl::StatusOr<TensorMap> tensors;
};

Opened Read(const std::string& bytes) {
  TempFolder folder;
  auto file = MappedFile::Open(folder.Write("w.bin", bytes));
  REQUIRE(file.ok());
  absl::StatusOr<TensorMap> tensors = ReadCheckpoint(**file);
  if (!tensors.ok()) CHECK_THAT(std::string(tensors.status().message()), ContainsSubstring("w.bin: "));
  return {*std::move(file), std::move(tensors)};
}

std::string Problem(const std::string& bytes) { return std::string(Read(bytes).tensors.status().message()); }

// A storage of six numbers, 0 to 5.
std::string Six() {
  std::string bytes;
  for (float value = 0; value < 6; ++value) bytes.append(reinterpret_cast<const char*>(&value), 4);
  return bytes;
}

PickledTensor Whole() { return {"a", "FloatStorage", "0", 6, 0, {2, 3}, {3, 1}}; }

std::string File(const PickledTensor& tensor, const std::string& storage = Six()) {
  return StoredZip({{"archive/data.pkl", StateDictPickle({tensor})}, {"archive/data/0", storage}});
}

// A file whose data.pkl is this text.
std::string WithPickle(const std::string& pickle) {
  return StoredZip({{"archive/data.pkl", pickle}, {"archive/data/0", Six()}});
}

std::vector<float> Values(const TensorView& view) {
  std::vector<float> values;
  ForEachPiece(view, [&](const uint8_t* data, size_t bytes) {
    const size_t before = values.size();
    values.resize(before + bytes / 4);
    std::memcpy(values.data() + before, data, bytes);
  });
  return values;
}

TEST_CASE("A checkpoint gives every tensor its type, shape and elements") {
  for (const bool wide : {false, true}) {
    const Opened opened = Read(
        StoredZip({{"archive/data.pkl", StateDictPickle({Whole(),
                                                         {"t", "FloatStorage", "0", 6, 0, {3, 2}, {1, 3}},
                                                         {"part", "FloatStorage", "0", 6, 4, {2}, {1}},
                                                         {"scalar", "FloatStorage", "0", 6, 5, {}, {}},
                                                         {"empty", "FloatStorage", "0", 6, 6, {0, 3}, {3, 1}},
                                                         {"ids", "LongStorage", "1", 1, 0, {1, 1}, {9, 7}},
                                                         {"half", "HalfStorage", "1", 4, 1, {2}, {1}},
                                                         {"double", "DoubleStorage", "1", 1, 0, {1}, {1}}})},
                   {"archive/data/0", Six()},
                   {"archive/data/1", std::string(8, '\1')},
                   {"archive/byteorder", "little"}},
                  wide));
    REQUIRE(opened.tensors.ok());
    const TensorMap& tensors = *opened.tensors;
    REQUIRE(tensors.size() == 8);
    CHECK(tensors.at("a").strides.empty());
    CHECK(Values(tensors.at("a")) == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(tensors.at("t").shape == std::vector<int64_t>{3, 2});
    CHECK(Values(tensors.at("t")) == std::vector<float>{0, 3, 1, 4, 2, 5});
    CHECK(Values(tensors.at("part")) == std::vector<float>{4, 5});
    CHECK(Values(tensors.at("scalar")) == std::vector<float>{5});
    CHECK(Values(tensors.at("empty")).empty());
    CHECK(tensors.at("ids").type == TensorType::kOther);
    CHECK(tensors.at("half").type == TensorType::kF16);
    CHECK(tensors.at("half").bytes == 4);
    CHECK(tensors.at("double").type == TensorType::kF64);
    CHECK(tensors.at("double").bytes == 8);
  }
}

TEST_CASE("The state dict of a training checkpoint is found under its name") {
  const std::string inner = StateDictPickle({Whole()});
  const std::string state = inner.substr(2, inner.size() - 3);  // without protocol and STOP
  const auto opened =
      Read(WithPickle(std::string("\x80\x02}(X\5\0\0\0epochK\7X\12\0\0\0state_dict", 31) + state + "u."));
  REQUIRE(opened.tensors.ok());
  CHECK(opened.tensors->count("a") == 1);
}

TEST_CASE("No place, size or stride leads out of a storage") {
  const auto changed = [](auto change) {
    PickledTensor tensor = Whole();
    change(tensor);
    return Problem(File(tensor));
  };
  CHECK(changed([](PickledTensor&) {}).empty());
  CHECK_THAT(changed([](PickledTensor& t) { t.offset = 1; }),
             ContainsSubstring("\"a\": reaches outside its storage"));
  CHECK_THAT(changed([](PickledTensor& t) { t.offset = -1; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.offset = INT64_MAX; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.shape = {3, 3}; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.shape = {-2, 3}; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) {
               t.shape = {INT64_MAX, 3};
             }),
             ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.strides = {4, 1}; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.strides = {-3, 1}; }), ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) {
               t.strides = {INT64_MAX, INT64_MAX};
             }),
             ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.strides = {3}; }),
             ContainsSubstring("strides than dimensions"));
  CHECK_THAT(changed([](PickledTensor& t) { t.shape = {0}, t.strides = {1}, t.offset = 7; }),
             ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) {
               t.shape = {1 << 30, 1 << 30, 1 << 30}, t.strides = {0, 0, 0};
             }),
             ContainsSubstring("reaches outside"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_elements = 7; }),
             ContainsSubstring("claims 7 elements and has 24 bytes"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_elements = INT64_MAX; }), ContainsSubstring("claims"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_elements = -1; }), ContainsSubstring("claims -1"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_type = "DoubleStorage"; }),
             ContainsSubstring("claims 6"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_key = "1"; }),
             ContainsSubstring("archive/data/1 is missing"));
  CHECK_THAT(changed([](PickledTensor& t) { t.storage_key = "../data/0"; }), ContainsSubstring("is missing"));
  CHECK_THAT(changed([](PickledTensor& t) { t.shape.assign(17, 1), t.strides.assign(17, 1); }),
             ContainsSubstring("bad shape"));
}

TEST_CASE("What is not among the names and instructions of a state dict is refused by name") {
  const auto refused = [](const std::string& pickle) {
    const absl::Status status = Read(WithPickle(std::string("\x80\x02", 2) + pickle)).tensors.status();
    CHECK(status.code() == absl::StatusCode::kUnimplemented);
    return std::string(status.message());
  };
  CHECK_THAT(refused("cposix\nsystem\n(X\2\0\0\0idtR."), ContainsSubstring("\"posix.system\" is not among"));
  CHECK_THAT(refused("cbuiltins\neval\n."), ContainsSubstring("\"builtins.eval\""));
  CHECK_THAT(refused("ctorch._utils\n_rebuild_parameter\n."),
             ContainsSubstring("\"torch._utils._rebuild_parameter\""));
  CHECK_THAT(refused("ctorch\nIntStorage\n."), ContainsSubstring("\"torch.IntStorage\""));
  CHECK_THAT(refused("ctorch._utils.x\n_rebuild_tensor_v2\n."),
             ContainsSubstring("\"torch._utils.x._rebuild_tensor_v2\""));
  CHECK_THAT(refused("ccollections\nOrderedDict\n(]tR."),
             ContainsSubstring("collections.OrderedDict with 1 arguments"));
  CHECK_THAT(refused("ctorch\nFloatStorage\n)R."), ContainsSubstring("a call of torch.FloatStorage"));
  CHECK_THAT(refused("iposix\nsystem\n."), ContainsSubstring("the instruction 0x69 at byte 2"));
  CHECK_THAT(refused("\x8c\1a."), ContainsSubstring("the instruction 0x8c"));
  CHECK_THAT(refused("\x8a\x09" + std::string(9, '\1') + "."), ContainsSubstring("a number of 9 bytes"));
  CHECK_THAT(Problem(WithPickle(std::string("\x80\x04N.", 4))), ContainsSubstring("protocol 4"));
}

TEST_CASE("A pickle that is cut, or makes no state dict, is an error") {
  const std::string whole = StateDictPickle({Whole()});
  for (size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(Problem(WithPickle(whole.substr(0, size))).empty());
  const auto problem = [](const std::string& pickle) {
    return Problem(WithPickle(std::string("\x80\x02", 2) + pickle));
  };
  CHECK_THAT(problem("N."), ContainsSubstring("is no state dict: None"));
  CHECK_THAT(problem("}X\1\0\0\0"), ContainsSubstring("ends early"));
  CHECK_THAT(problem(std::string("}X\1\0\0\0aK\1s.", 11)), ContainsSubstring("\"a\": is a number"));
  CHECK_THAT(problem("}K\1K\1s."), ContainsSubstring("a number as the name"));
  CHECK_THAT(problem("}}."), ContainsSubstring("more or less than one object"));
  CHECK_THAT(problem("h\1."), ContainsSubstring("before it is there"));
  CHECK_THAT(problem("}NQ."), ContainsSubstring("no storage"));
  for (const std::string junk :
       {"t.", "e.", "u.", "s.", "a.", "R.", "b.", "Q.", "q\1.", "\x87.", "]NNu.", "}(Nu."}) {
    CHECK_FALSE(problem(junk).empty());
  }
  CHECK_THAT(Problem(StoredZip(
                 {{"archive/data.pkl", StateDictPickle({Whole(), Whole()})}, {"archive/data/0", Six()}})),
             ContainsSubstring("\"a\": is there twice"));
}

TEST_CASE("A ZIP whose parts contradict each other is refused") {
  const std::string whole = File(Whole());
  for (size_t size = 1; size < whole.size(); ++size) CHECK_FALSE(Problem(whole.substr(0, size)).empty());
  const auto changed = [&](const std::string& mark, size_t at, char to) {
    std::string file = whole;
    file[file.rfind(mark) + at] = to;
    return Problem(file);
  };
  CHECK_THAT(changed("PK\1\2", 10, 8), ContainsSubstring("\"archive/data/0\" is compressed"));
  CHECK_THAT(changed("PK\1\2", 8, 1), ContainsSubstring("is encrypted"));
  CHECK_THAT(changed("PK\1\2", 20, 1), ContainsSubstring("contradict"));
  CHECK_THAT(changed("PK\1\2", 43, 0x7f), ContainsSubstring("has no header where the directory says"));
  CHECK_THAT(changed("PK\1\2", 46, 'A'), ContainsSubstring("contradicts the directory"));
  CHECK_THAT(changed("PK\3\4", 8, 8), ContainsSubstring("contradicts the directory"));
  CHECK_THAT(changed("PK\5\6", 10, 3), ContainsSubstring("ends early"));
  CHECK_THAT(changed("PK\5\6", 18, 1), ContainsSubstring("outside the file"));
  CHECK_THAT(Problem(StoredZip({{"a/data.pkl", "x"}, {"a/data.pkl", "x"}})),
             ContainsSubstring("is there twice"));
  CHECK_THAT(Problem(StoredZip({{"a/data.pkl", "x"}, {"b/data.pkl", "x"}})),
             ContainsSubstring("more than one data.pkl"));
  CHECK_THAT(Problem(StoredZip({{"a/b/data.pkl", "x"}})), ContainsSubstring("has no data.pkl"));
  CHECK_THAT(Problem(StoredZip({{"a/data.pkl", "x"}, {"a/byteorder", "big"}})),
             ContainsSubstring("little-endian"));
}

TEST_CASE("Files that are near a checkpoint are called by their name") {
  CHECK_THAT(Problem("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
             ContainsSubstring("before 1.6"));
  CHECK_THAT(Problem("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
             ContainsSubstring("git lfs pull"));
  CHECK_THAT(
      Problem(StoredZip({{"a/data.pkl", "x"}, {"a/constants.pkl", "x"}, {"a/code/__torch__.py", "x"}})),
      ContainsSubstring("TorchScript"));
  CHECK_THAT(Problem("hello"), ContainsSubstring("not a checkpoint of torch.save"));
}

}  // namespace
}  // namespace embedd
