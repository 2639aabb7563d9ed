// SPDX-License-Identifier: Apache-2.0
//
// A fresh folder for one test, removed at its end.

#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace embedd {

class TempFolder {
 public:
  explicit TempFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string made = (parent / "embedd-test-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) std::abort();
    path_ = made;
  }
  // In memory, where the system has a place for that: for fuzzers, which write a file for each input.
  static TempFolder InMemory() {
    const std::filesystem::path memory = "/dev/shm";
    return TempFolder(std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path());
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string At(const std::string& name) const { return path_ + "/" + name; }

  // Writes a file and returns its path.
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(At(name), std::ios::binary) << text;
    return At(name);
  }

 private:
  std::string path_;
};

}  // namespace embedd
