// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/npy.h"

#include <cstring>
#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/ctl/run_ctl.h"

namespace embedd::ctl {
namespace {

// A .npy file with this header and data.
std::string Npy(const std::string& header, const std::string& data, char version = 1) {
  std::string out = "\x93NUMPY";
  out += {version, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (version >= 2) out += {0, 0};
  return out + header + data;
}

std::string Little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i & 0xff);
  return out;
}

// A ZIP file of stored members, as np.savez writes it; `method` 8 would say compressed.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& members, uint64_t method = 0) {
  std::string out, directory;
  for (const auto& [name, data] : members) {
    const auto offset = out.size();
    const std::string sizes = Little(0, 4) + Little(data.size(), 4) + Little(data.size(), 4);
    out += Little(0x04034b50, 4) + Little(20, 2) + Little(0, 2) + Little(method, 2) + Little(0, 4) + sizes +
           Little(name.size(), 2) + Little(4, 2) + name + "xtra" + data;
    directory += Little(0x02014b50, 4) + Little(20, 2) + Little(20, 2) + Little(0, 2) + Little(method, 2) +
                 Little(0, 4) + sizes + Little(name.size(), 2) + Little(0, 2) + Little(0, 2) + Little(0, 2) +
                 Little(0, 2) + Little(0, 4) + Little(offset, 4) + name;
  }
  const auto start = out.size();
  return out + directory + Little(0x06054b50, 4) + Little(0, 4) + Little(members.size(), 2) +
         Little(members.size(), 2) + Little(directory.size(), 4) + Little(start, 4) + Little(0, 2);
}

const std::vector<float> kValues{1, -2, 3.5F, 4, 5, 6};

std::string Bytes(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

std::string File(const std::vector<float>& values, size_t rows, size_t columns) {
  return NpyHeader(rows, columns) + Bytes(values);
}

TEST_CASE("What is written is read back, and its data starts at a multiple of 64") {
  const auto file = File(kValues, 3, 2);
  CHECK((file.size() - 24) % 64 == 0);
  const auto matrix = ParseNpy(file);
  REQUIRE(matrix.ok());
  CHECK(matrix->rows == 3);
  CHECK(matrix->columns == 2);
  CHECK(matrix->values == kValues);
}

TEST_CASE("A file that is written row by row has its name only once it is whole") {
  const TempFolder dir;
  const std::string path = dir.Write("v.npy", "earlier");
  {
    NpyFile file(path);
    REQUIRE(file.Append(std::span(kValues).first(2), 3, 2).ok());
  }  // the job failed
  CHECK(client::ReadAll(path) == "earlier");
  {
    NpyFile file(path);
    REQUIRE(file.Append(std::span(kValues).first(2), 3, 2).ok());
    REQUIRE(file.Append(std::span(kValues).subspan(2), 3, 2).ok());
    CHECK(client::ReadAll(path) == "earlier");
    REQUIRE(file.Finish().ok());
  }
  CHECK(client::ReadAll(path) == File(kValues, 3, 2));
  CHECK_FALSE(std::filesystem::exists(path + ".part"));
}

TEST_CASE("A place that cannot be written is known at once; a link keeps its place") {
  const TempFolder dir;
  CHECK(absl::IsPermissionDenied(NpyFile(dir.At("nowhere/v.npy")).status()));
  const std::string real = dir.Write("real.npy", "earlier"), link = dir.At("link.npy");
  std::filesystem::create_symlink(real, link);
  NpyFile file(link);
  REQUIRE(file.Append(kValues, 3, 2).ok());
  REQUIRE(file.Finish().ok());
  CHECK(std::filesystem::is_symlink(link));
  CHECK(client::ReadAll(real) == File(kValues, 3, 2));
}

TEST_CASE("Half floats and headers of version 2 are read") {
  const std::string header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }\n";
  const auto matrix = ParseNpy(Npy(header, std::string("\x00\x3c\x00\xc0", 4), 2));
  REQUIRE(matrix.ok());
  CHECK(matrix->values == std::vector<float>{1, -2});
}

TEST_CASE("Other arrays are refused, saying what they are and what to do") {
  const auto message = [](const std::string& descr, const std::string& order, const std::string& shape) {
    const auto status =
        ParseNpy(
            Npy("{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': (" + shape + "), }", ""))
            .status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()).find("np.save") != std::string::npos);
    return std::string(status.message());
  };
  CHECK(message("<f8", "False", "1, 2").find("<f8") != std::string::npos);
  CHECK(message("<f4", "True", "1, 2").find("Fortran") != std::string::npos);
  CHECK(message("<f4", "False", "2,").find("(2,)") != std::string::npos);
  CHECK(message("<f4", "False", "1, 2, 3").find("1, 2, 3") != std::string::npos);
  CHECK(message("<f4", "False", "1, 2").find("size") != std::string::npos);
}

TEST_CASE("No cut or changed byte of a file makes the reader read outside it") {
  for (const auto& file : {File(kValues, 3, 2), Zip({{"a.npy", File(kValues, 3, 2)}})}) {
    for (size_t size = 0; size < file.size(); ++size) {
      CHECK_FALSE(ParseNpy(file.substr(0, size)).ok());
      CHECK_FALSE(ParseNpz(file.substr(0, size), "").ok());
    }
    for (size_t i = 0; i < file.size(); ++i) {
      auto changed = file;
      for (const int value : {0x00, 0x7f, 0xff}) {
        changed[i] = static_cast<char>(value);
        (void)ParseNpy(changed);
        (void)ParseNpz(changed, "");
      }
    }
  }
}

TEST_CASE("An array of an npz file is found by name, or is the only one") {
  const auto a = File(kValues, 3, 2);
  const auto b = File(kValues, 2, 3);
  const auto one = ParseNpz(Zip({{"arr_0.npy", a}}), "");
  REQUIRE(one.ok());
  CHECK(one->values == kValues);
  const auto named = ParseNpz(Zip({{"ids.npy", a}, {"vectors.npy", b}}), "vectors");
  REQUIRE(named.ok());
  CHECK(named->rows == 2);
  const auto unclear = ParseNpz(Zip({{"ids.npy", a}, {"vectors.npy", b}}), "").status();
  CHECK(std::string(unclear.message()).find("ids, vectors") != std::string::npos);
  CHECK_FALSE(ParseNpz(Zip({{"ids.npy", a}}), "vectors").ok());
}

TEST_CASE("A compressed npz file is refused, saying how to save it") {
  const auto status = ParseNpz(Zip({{"a.npy", File(kValues, 3, 2)}}, 8), "").status();
  CHECK(std::string(status.message()).find("np.savez") != std::string::npos);
}

}  // namespace
}  // namespace embedd::ctl
