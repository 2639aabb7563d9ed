// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes as a weights file. Every tensor of a file that opens lies inside it and is
// as large as its shape says.

#include <cstdlib>
#include <fstream>

#include "server/model/safetensors.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

// One file for the process, written anew each time.
const std::string& Path() {
  static const TempFolder folder = TempFolder::InMemory();
  static const std::string path = folder.At("safetensors");
  return path;
}

void Read(size_t size) {
  const auto file = MappedFile::Open(Path());
  if (!file.ok()) return;
  const auto tensors = ReadSafetensors(**file);
  if (!tensors.ok()) {
    if (tensors.status().message().empty()) std::abort();
    return;
  }
  int64_t all = 0;
  volatile uint8_t sum = 0;
  for (const auto& [name, tensor] : *tensors) {
    int64_t bytes = TensorTypeBytes(tensor.type);
    for (const int64_t dim : tensor.shape) bytes *= dim;
    if (tensor.type != TensorType::kOther && bytes != tensor.bytes) std::abort();
    for (int64_t i = 0; i < tensor.bytes; ++i) sum = sum ^ tensor.data[i];
    all += tensor.bytes;
  }
  if (static_cast<size_t>(all) > size) std::abort();
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::ofstream(embedd::Path(), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  embedd::Read(size);
  return 0;
}
