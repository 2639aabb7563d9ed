// SPDX-License-Identifier: Apache-2.0

#include "tests/support/checkpoint_file.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace embedd {
namespace {

// `number` in `bytes` bytes, little-endian.
std::string Little(uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i));
  return text;
}

std::string Text(const std::string& text) { return "X" + Little(text.size(), 4) + text; }

std::string Int(int64_t number) {
  if (number >= 0 && number < 256) return "K" + Little(static_cast<uint64_t>(number), 1);
  return "\x8a\x08" + Little(static_cast<uint64_t>(number), 8);
}

std::string Tuple(const std::vector<int64_t>& numbers) {
  std::string text = "(";
  for (const int64_t number : numbers) text += Int(number);
  return text + "t";
}

}  // namespace

std::string StoredZip(const std::vector<std::pair<std::string, std::string>>& entries, bool wide) {
  const std::string none = Little(UINT32_MAX, 4);
  std::string file, directory;
  for (const auto& [name, bytes] : entries) {
    const std::string size = Little(bytes.size(), 4);
    const std::string wide_sizes = Little(bytes.size(), 8) + Little(bytes.size(), 8);
    // version, flags, method, time, date, CRC
    const std::string kind =
        Little(45, 2) + Little(0, 2) + Little(0, 2) + Little(0, 2) + Little(0, 2) + Little(0, 4);
    const std::string local_extra = wide ? Little(1, 2) + Little(16, 2) + wide_sizes : "";
    const std::string extra = wide ? Little(0x5455, 2) + Little(1, 2) + "x" + Little(1, 2) + Little(24, 2) +
                                         wide_sizes + Little(file.size(), 8)
                                   : "";
    directory += "PK\x01\x02" + Little(45, 2) + kind + (wide ? none + none : size + size) +
                 Little(name.size(), 2) + Little(extra.size(), 2) + Little(0, 2) + Little(0, 2) +
                 Little(0, 2) + Little(0, 4) + (wide ? none : Little(file.size(), 4)) + name + extra;
    file += "PK\x03\x04" + kind + (wide ? none + none : size + size) + Little(name.size(), 2) +
            Little(local_extra.size(), 2) + name + local_extra + bytes;
  }
  const uint64_t begin = file.size();
  file += directory;
  if (wide) {
    const uint64_t end = file.size();
    file += "PK\x06\x06" + Little(44, 8) + Little(45, 2) + Little(45, 2) + Little(0, 4) + Little(0, 4) +
            Little(entries.size(), 8) + Little(entries.size(), 8) + Little(directory.size(), 8) +
            Little(begin, 8);
    file += "PK\x06\x07" + Little(0, 4) + Little(end, 8) + Little(1, 4);
  }
  const std::string count = wide ? Little(UINT16_MAX, 2) : Little(entries.size(), 2);
  return file + "PK\x05\x06" + Little(0, 2) + Little(0, 2) + count + count +
         (wide ? none + none : Little(directory.size(), 4) + Little(begin, 4)) + Little(0, 2);
}

std::string StateDictPickle(const std::vector<PickledTensor>& tensors) {
  const std::string ordered_dict = "ccollections\nOrderedDict\n";
  std::string text = std::string("\x80\x02", 2) + ordered_dict + ")Rq\1(";
  for (const PickledTensor& tensor : tensors) {
    text += Text(tensor.name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "ctorch\n" +
            tensor.storage_type + "\n" + Text(tensor.storage_key) + Text("cpu") +
            Int(tensor.storage_elements) + "tQ" + Int(tensor.offset) + Tuple(tensor.shape) +
            Tuple(tensor.strides) + "\x89" + ordered_dict + ")RtR";
  }
  // _metadata, which is an attribute of the dict.
  return text + "u}" + Text("_metadata") + ordered_dict + ")Rsb.";
}

std::string Checkpoint(const std::map<std::string, HostTensor>& tensors) {
  std::vector<PickledTensor> pickled;
  std::vector<std::pair<std::string, std::string>> entries(1);
  for (const auto& [name, tensor] : tensors) {
    std::vector<int64_t> strides(tensor.shape.size(), 1);
    for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
    const std::string key = absl::StrCat(pickled.size());
    pickled.push_back(
        {name, "FloatStorage", key, static_cast<int64_t>(tensor.values.size()), 0, tensor.shape, strides});
    entries.emplace_back("archive/data/" + key,
                         std::string(reinterpret_cast<const char*>(tensor.values.data()),
                                     tensor.values.size() * sizeof(float)));
  }
  entries[0] = {"archive/data.pkl", StateDictPickle(pickled)};
  entries.emplace_back("archive/byteorder", "little");
  entries.emplace_back("archive/version", "3\n");
  return StoredZip(entries);
}

}  // namespace embedd
