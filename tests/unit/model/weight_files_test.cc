// SPDX-License-Identifier: Apache-2.0

#include "server/model/weight_files.h"

#include <cstring>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/random_model.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

void WriteShard(const TempFolder& folder, const std::string& file, const std::vector<std::string>& names) {
  std::map<std::string, HostTensor> tensors;
  for (const std::string& name : names) tensors[name] = {{2}, {1, 2}};
  REQUIRE(WriteSafetensors(folder.path() + "/" + file, tensors).ok());
}

// The message of opening the index; empty when it opens.
std::string Problem(const TempFolder& folder, const std::string& index) {
  const auto files = WeightFiles::Open(folder.Write("model.safetensors.index.json", index));
  return std::string(files.status().message());
}

TEST_CASE("Shards are one set of tensors") {
  TempFolder folder;
  WriteShard(folder, "model-00001-of-00002.safetensors", {"a", "b"});
  WriteShard(folder, "model-00002-of-00002.safetensors", {"c"});
  const auto files = WeightFiles::Open(folder.Write("model.safetensors.index.json", R"({
      "metadata": {"total_size": 24, "total_parameters": 6},
      "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
                     "c": "model-00002-of-00002.safetensors"}})"));
  REQUIRE(files.ok());
  CHECK((*files)->tensors().size() == 3);
  CHECK((*files)->Has("c"));
  CHECK((*files)->tensors().at("c").shape == std::vector<int64_t>{2});
  CHECK_THAT(std::string((*files)->TensorError("c", "so").message()),
             ContainsSubstring("model-00002-of-00002.safetensors: tensor \"c\": so"));
  CHECK_THAT(std::string((*files)->TensorError("d", "so").message()),
             ContainsSubstring("model.safetensors.index.json: "));
  CHECK((*files)->CheckUnchanged().ok());
  std::filesystem::resize_file(folder.path() + "/model-00002-of-00002.safetensors", 10);
  CHECK((*files)->CheckUnchanged().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("An index that does not fit its shards is refused by name") {
  TempFolder folder;
  WriteShard(folder, "1.safetensors", {"a", "b"});
  WriteShard(folder, "2.safetensors", {"b", "c"});
  CHECK_THAT(Problem(folder, R"({"weight_map": {"a": "1.safetensors", "x": "3.safetensors"}})"),
             ContainsSubstring("3.safetensors: cannot be opened") &&
                 ContainsSubstring("model.safetensors.index.json names it"));
  CHECK_THAT(Problem(folder, R"({"weight_map": {"c": "1.safetensors"}})"),
             ContainsSubstring("\"c\": is not in 1.safetensors"));
  CHECK_THAT(
      Problem(folder, R"({"weight_map": {"a": "1.safetensors", "c": "2.safetensors"}})"),
      ContainsSubstring("1.safetensors: tensor \"b\": is in ") && ContainsSubstring("2.safetensors, too"));
  CHECK_THAT(Problem(folder, R"({"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}})"),
             ContainsSubstring("twice"));
  std::filesystem::create_directories(folder.path() + "/sub");
  WriteShard(folder, "sub/4.safetensors", {"a"});
  for (const std::string name : {R"("sub/4.safetensors")", R"("/etc/passwd")", R"("../1.safetensors")",
                                 R"("..")", R"("")", R"("a\u0000b")", "7", "null"}) {
    CHECK_THAT(Problem(folder, R"({"weight_map": {"a": )" + name + "}}"),
               ContainsSubstring("\"a\": must be the name of a file beside the index"));
  }
  for (const char* index : {"[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})"}) {
    CHECK_THAT(Problem(folder, index), ContainsSubstring("model.safetensors.index.json"));
  }
}

TEST_CASE("A prefix is taken off when every name has it") {
  TempFolder folder;
  WriteShard(folder, "w.safetensors", {"module.a", "module.b.c"});
  auto files = WeightFiles::Open(folder.path() + "/w.safetensors");
  REQUIRE(files.ok());
  (*files)->StripCommonPrefix("module.");
  CHECK((*files)->Has("a"));
  CHECK((*files)->Has("b.c"));
  CHECK((*files)->tensors().size() == 2);
  (*files)->StripCommonPrefix("b.");
  CHECK((*files)->Has("b.c"));
  CHECK_THAT(std::string((*files)->TensorError("a", "so").message()),
             ContainsSubstring("w.safetensors: tensor \"a\""));
}

TEST_CASE("A file that is cut or written to is noticed, one that is replaced is not touched by it") {
  TempFolder folder;
  WriteShard(folder, "w.safetensors", {"a"});
  WriteShard(folder, "other", {"b", "c"});
  const std::string path = folder.path() + "/w.safetensors";
  const auto files = WeightFiles::Open(path);
  REQUIRE(files.ok());
  std::filesystem::rename(folder.path() + "/other", path);
  CHECK((*files)->CheckUnchanged().ok());
  (*files)->DropPages();
  float value;
  std::memcpy(&value, (*files)->tensors().at("a").data, sizeof(value));
  CHECK(value == 1);

  const auto replaced = WeightFiles::Open(path);
  REQUIRE(replaced.ok());
  std::filesystem::resize_file(path, 10);
  CHECK((*replaced)->CheckUnchanged().code() == absl::StatusCode::kDataLoss);
  CHECK(WeightFiles::Open(folder.path() + "/none.safetensors").status().code() ==
        absl::StatusCode::kNotFound);
  CHECK_FALSE(WeightFiles::Open(folder.Write("e.safetensors", "")).ok());
}

TEST_CASE("Elements come in row-major order, however they lie") {
  const float values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  TensorView view{
      TensorType::kF32, "F32", {2, 3, 2}, {1, 4, 2}, reinterpret_cast<const uint8_t*>(values), 48};
  const auto gather = [&] {
    std::vector<float> all;
    ForEachPiece(view, [&](const uint8_t* data, size_t bytes) {
      const size_t before = all.size();
      all.resize(before + bytes / 4);
      std::memcpy(all.data() + before, data, bytes);
    });
    return all;
  };
  CHECK(gather() == std::vector<float>{0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11});
  view.strides.clear();
  CHECK(gather() == std::vector<float>(values, values + 12));
  view.shape = {3};
  view.strides = {0};
  view.bytes = 12;
  CHECK(gather() == std::vector<float>{0, 0, 0});
}

}  // namespace
}  // namespace embedd
