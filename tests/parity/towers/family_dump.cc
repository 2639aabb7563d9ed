// SPDX-License-Identifier: Apache-2.0
//
// family_dump: from files to vectors as the server makes them, so that test_families.py can compare them with
// the models' own libraries.
//   family_dump MODEL_FOLDER OUT DTYPE BATCH image FILE...
//   family_dump MODEL_FOLDER OUT DTYPE BATCH text FILE      texts that a zero byte ends
// OUT gets float32 [n, dimension], in device batches of BATCH. Prints what the folder says. Exit 3, with the
// reason, when the model cannot be loaded; 1 when anything else fails.

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/torch_executor.h"
#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/preprocess.h"
#include "server/prepare/text/tokenizer.h"
#include "tests/support/no_device_memory.h"

namespace embedd {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

[[noreturn]] void Stop(int code, absl::string_view why) {
  std::cerr << why << "\n";
  std::exit(code);
}

void Check(const absl::Status& status) {
  if (!status.ok()) Stop(1, status.message());
}

std::vector<std::vector<uint8_t>> Images(const ModelFolder& model, const std::vector<std::string>& files) {
  const auto decoder = FileDecoder::Create(ImageDecoder::Limits{});
  Check(decoder.status());
  std::vector<std::vector<uint8_t>> images;
  for (const std::string& file : files) {
    const absl::StatusOr<RgbImage> image = (*decoder)->Decode(ReadFile(file));
    Check(image.status());
    images.emplace_back(model.image.bytes());
    Preprocess(image->rgb.get(), image->width, image->height, model.image, images.back().data());
  }
  return images;
}

std::vector<std::vector<uint8_t>> Texts(const ModelFolder& model, const std::string& folder,
                                        const std::string& file) {
  if (!model.text.has_value()) Stop(3, "the folder has no text tower that is read");
  const auto tokenizer = Tokenizer::Create(folder, model.text->spec);
  Check(tokenizer.status());
  std::vector<std::vector<uint8_t>> texts;
  const std::string all = ReadFile(file);
  for (size_t at = 0; at < all.size();) {
    const size_t end = all.find('\0', at);
    const Tokenizer::Encoded encoded = (*tokenizer)->Encode(all.substr(at, end - at));
    const auto* bytes = reinterpret_cast<const uint8_t*>(encoded.ids.data());
    texts.emplace_back(bytes, bytes + encoded.ids.size() * sizeof(int32_t));
    at = end + 1;
  }
  return texts;
}

void Dump(const std::string& folder, const std::string& out, const std::string& dtype, size_t batch,
          const std::string& kind, const std::vector<std::string>& files) {
  absl::StatusOr<ModelFolder> model = ReadModelFolder(folder);
  if (!model.ok()) Stop(3, model.status().message());
  const Tower tower = kind == "text" ? Tower::kText : Tower::kImage;
  const std::vector<std::vector<uint8_t>> inputs =
      tower == Tower::kText ? Texts(*model, folder, files[0]) : Images(*model, files);
  TorchExecutor::Options options;
  options.dtype = ValueIn(kDtypes, dtype).value();
  options.threads = 1;
  auto executor = TorchExecutor::Create(*std::move(model), std::make_unique<NoDeviceMemory>(), options);
  Check(executor.status());
  Check((*executor)->Load(tower));
  const size_t dimension = static_cast<size_t>((*executor)->dimension());
  std::vector<float> rows(inputs.size() * dimension);
  for (size_t first = 0; first < inputs.size(); first += batch) {
    std::vector<const uint8_t*> part;
    for (size_t i = first; i < std::min(first + batch, inputs.size()); ++i) part.push_back(inputs[i].data());
    Check((*executor)->Run(tower, part, static_cast<int>(part.size()),
                           absl::MakeSpan(rows).subspan(first * dimension, part.size() * dimension)));
  }
  std::ofstream file(out, std::ios::binary);
  file.write(reinterpret_cast<const char*>(rows.data()),
             static_cast<std::streamsize>(rows.size() * sizeof(float)));
  const ModelSpec& spec = (*executor)->spec();
  std::cout << "architecture " << spec.architecture << "\nfingerprint " << spec.fingerprint << "\nsimilarity "
            << spec.similarity << "\nlogit_scale " << spec.logit_scale.value_or(0) << "\nlogit_bias "
            << spec.logit_bias.value_or(0) << "\n";
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) {
  if (argc < 7) {
    std::cerr << "family_dump MODEL_FOLDER OUT DTYPE BATCH image|text FILE...\n";
    return 2;
  }
  embedd::Dump(argv[1], argv[2], argv[3], static_cast<size_t>(std::max(1, std::atoi(argv[4]))), argv[5],
               {argv + 6, argv + argc});
  return 0;
}
