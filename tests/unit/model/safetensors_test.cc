// SPDX-License-Identifier: Apache-2.0

#include "server/model/safetensors.h"

#include <cstring>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

// A file with this header (as text) and this many bytes of data, counting up from 1.
std::string FileText(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string text(reinterpret_cast<const char*>(&size), sizeof(size));
  text += header;
  for (size_t i = 0; i < data_bytes; ++i) text += static_cast<char>(i + 1);
  return text;
}

// The message of opening such a file; empty when it opens.
std::string Problem(const std::string& header, size_t data_bytes) {
  TempFolder folder;
  const auto file = MappedFile::Open(folder.Write("w.safetensors", FileText(header, data_bytes)));
  REQUIRE(file.ok());
  const absl::Status status = ReadSafetensors(**file).status();
  if (status.ok()) return "";
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(status.message()).find("w.safetensors") != std::string::npos);
  return std::string(status.message());
}

TEST_CASE("A well-formed file gives every tensor its type, shape and bytes") {
  TempFolder folder;
  const auto file = MappedFile::Open(folder.Write(
      "w.safetensors",
      FileText(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},)"
               R"("empty":{"dtype":"F16","shape":[0,3],"data_offsets":[12,12]},)"
               R"("scalar":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}   )",
               16)));
  REQUIRE(file.ok());
  const auto read = ReadSafetensors(**file);
  REQUIRE(read.ok());
  const TensorMap& tensors = *read;
  REQUIRE(tensors.size() == 4);
  CHECK(tensors.at("a").type == TensorType::kF32);
  CHECK(tensors.at("b").shape == std::vector<int64_t>{1, 2});
  CHECK(tensors.at("b").bytes == 4);
  CHECK(tensors.at("b").data[0] == 9);
  CHECK(tensors.at("empty").bytes == 0);
  CHECK(tensors.at("scalar").data[3] == 16);
}

TEST_CASE("A header that claims more than the file has is refused before it is read") {
  TempFolder folder;
  for (uint64_t claim : {uint64_t{100}, uint64_t{100'000'001}, ~uint64_t{0}}) {
    std::string text(reinterpret_cast<const char*>(&claim), sizeof(claim));
    const auto file = MappedFile::Open(folder.Write("w.safetensors", text + "{}"));
    REQUIRE(file.ok());
    CHECK_THAT(std::string(ReadSafetensors(**file).status().message()), ContainsSubstring("header claims"));
  }
  const auto file = MappedFile::Open(folder.Write("w.safetensors", "short"));
  REQUIRE(file.ok());
  CHECK_THAT(std::string(ReadSafetensors(**file).status().message()), ContainsSubstring("too short"));
}

TEST_CASE("A header that is not the JSON of the format is refused") {
  CHECK_THAT(Problem("[1]", 0), ContainsSubstring("not a JSON object"));
  CHECK_THAT(Problem("{", 0), ContainsSubstring("not valid JSON"));
  CHECK_THAT(Problem("{} x", 0), ContainsSubstring("not valid JSON"));
  CHECK_THAT(Problem(R"({"a":1})", 0), ContainsSubstring("\"a\""));
  CHECK_THAT(Problem(R"({"a":{"b":{"c":{"d":[]}}}})", 0), ContainsSubstring("nested too deeply"));
  CHECK_THAT(Problem(std::string(1'000'000, '{'), 0), ContainsSubstring("not valid JSON"));
}

TEST_CASE("A key that is there twice is refused") {
  CHECK_THAT(Problem(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                     R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                     4),
             ContainsSubstring("twice"));
}

TEST_CASE("Offsets must lie in the file, leave no hole and not overlap") {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)" + a +
           R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)" + b + "}}";
  };
  CHECK(Problem(two("[4,8]", "[0,4]"), 8) == "");
  CHECK_THAT(Problem(two("[0,4]", "[0,4]"), 8), ContainsSubstring("overlaps"));
  CHECK_THAT(Problem(two("[0,4]", "[2,6]"), 6), ContainsSubstring("overlaps"));
  CHECK_THAT(Problem(two("[0,4]", "[8,12]"), 12), ContainsSubstring("hole"));
  CHECK_THAT(Problem(two("[4,8]", "[8,12]"), 12), ContainsSubstring("hole"));
  CHECK_THAT(Problem(two("[0,4]", "[4,8]"), 9), ContainsSubstring("after the last tensor"));
  CHECK_THAT(Problem(two("[0,4]", "[4,8]"), 7), ContainsSubstring("outside the file"));
  CHECK_THAT(Problem(two("[0,4]", "[8,4]"), 8), ContainsSubstring("outside the file"));
  CHECK_THAT(Problem(two("[0,4]", "[18446744073709551612,18446744073709551615]"), 8),
             ContainsSubstring("outside the file"));
  CHECK_THAT(Problem(two("[0,4]", "[4,8.0]"), 8), ContainsSubstring("data_offsets"));
  CHECK_THAT(Problem(two("[0,4]", "[-4,0]"), 8), ContainsSubstring("data_offsets"));
}

TEST_CASE("Bytes must match the shape, and a shape must not overflow") {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,8]}})";
  };
  CHECK(Problem(one("F32", "[2,1]"), 8) == "");
  CHECK_THAT(Problem(one("BF16", "[3]"), 8), ContainsSubstring("needs 6"));
  CHECK(Problem(one("F64", "[1,1]"), 8) == "");
  CHECK_THAT(Problem(one("F32", "[3]"), 8), ContainsSubstring("needs 12"));
  CHECK_THAT(Problem(one("F64", "[2]"), 8), ContainsSubstring("needs 16"));
  CHECK_THAT(Problem(one("F32", "[4294967296,4294967296,4294967296]"), 8), ContainsSubstring("too large"));
  CHECK_THAT(Problem(one("F32", "[9223372036854775808]"), 8), ContainsSubstring("bad shape"));
  CHECK_THAT(Problem(one("F32", "[-2]"), 8), ContainsSubstring("bad shape"));
}

TEST_CASE("A tensor of a type that no tower uses may lie in the file, known to the format or not") {
  TempFolder folder;
  for (const std::string type : {"I64", "U8", "BOOL", "F8_E4M3", "F4", "Q9_FROM_THE_FUTURE"}) {
    const auto file = MappedFile::Open(
        folder.Write("w.safetensors",
                     FileText(R"({"a":{"dtype":")" + type + R"(","shape":[3],"data_offsets":[0,7]}})", 7)));
    REQUIRE(file.ok());
    const auto tensors = ReadSafetensors(**file);
    REQUIRE(tensors.ok());
    CHECK(tensors->at("a").type == TensorType::kOther);
    CHECK(tensors->at("a").type_name == type);
    CHECK(tensors->at("a").bytes == 7);
  }
  CHECK_THAT(Problem(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,7]}})", 6),
             ContainsSubstring("outside the file"));
}

}  // namespace
}  // namespace embedd
