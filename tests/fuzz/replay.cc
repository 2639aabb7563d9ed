// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target without a fuzzer, so that any compiler and every sanitizer build tests it: over the kept
// corpus, over each file cut short, and over some changed bytes, the same ones every time.
//   replay CORPUS [ROUNDS]

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Copied to memory of exactly its size, so that a byte read behind the end is seen.
void Run(const Bytes& bytes, size_t size) {
  const Bytes exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

Bytes Changed(Bytes bytes, std::mt19937& random) {
  for (int changes = 1 + static_cast<int>(random() % 4); changes > 0 && !bytes.empty(); --changes) {
    bytes[random() % bytes.size()] = static_cast<uint8_t>(random() % 3 == 0 ? 0xff : random());
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 300;
  std::mt19937 random(1);
  int files = 0, runs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    const Bytes bytes = ReadAll(entry.path());
    ++files;
    Run(bytes, bytes.size());
    for (int i = 0; i < rounds; ++i, runs += 2) {
      Run(bytes, bytes.empty() ? 0 : random() % bytes.size());
      const Bytes changed = Changed(bytes, random);
      Run(changed, changed.size());
    }
  }
  std::printf("%d files, %d variants of them\n", files, runs);
  return files > 0 ? 0 : 1;
}
