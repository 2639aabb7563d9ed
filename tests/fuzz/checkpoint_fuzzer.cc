// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: any bytes as a checkpoint of torch.save, and as the pickle inside one. Every element of
// every tensor of a checkpoint that opens lies inside the file.

#include <cstdlib>
#include <fstream>

#include "server/model/checkpoint.h"
#include "server/model/state_dict_pickle.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

// One file for the process, written anew each time.
const std::string& Path() {
  static const TempFolder folder = TempFolder::InMemory();
  static const std::string path = folder.At("checkpoint");
  return path;
}

void RequireNamed(const absl::Status& status, const std::string& file) {
  if (!status.ok() && status.message().substr(0, file.size()) != file) std::abort();
}

void ReadFile() {
  const auto file = MappedFile::Open(Path());
  if (!file.ok()) return;
  const auto tensors = ReadCheckpoint(**file);
  RequireNamed(tensors.status(), Path());
  if (!tensors.ok()) return;
  volatile uint8_t sum = 0;
  const uint8_t* const end = (*file)->data() + (*file)->size();
  for (const auto& [name, tensor] : *tensors) {
    if (tensor.data < (*file)->data() || tensor.data > end) std::abort();
    // Strides of 0 make much of a few bytes; a config would have to ask for that.
    if (tensor.type == TensorType::kOther || tensor.bytes > 1 << 16) continue;
    int64_t bytes = 0;
    ForEachPiece(tensor, [&](const uint8_t* data, size_t size) {
      for (size_t i = 0; i < size; ++i) sum = sum ^ data[i];
      bytes += static_cast<int64_t>(size);
    });
    if (bytes != tensor.bytes) std::abort();
  }
}

}  // namespace
}  // namespace embedd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::ofstream(embedd::Path(), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  embedd::ReadFile();
  const absl::string_view pickle(reinterpret_cast<const char*>(data), size);
  embedd::RequireNamed(embedd::ReadStateDictPickle(pickle, "FILE").status(), "FILE");
  return 0;
}
