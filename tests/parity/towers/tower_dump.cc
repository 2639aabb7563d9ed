// SPDX-License-Identifier: Apache-2.0
//
// tower_dump: runs the server's model side on prepared pixels, so that test_towers.py can compare it with
// open_clip.
//   tower_dump MODEL_FOLDER PIXELS OUT [DTYPE [THREADS]]
// PIXELS holds uint8 [n, 3, height, width], OUT gets float32 [n, dimension]. Prints the fingerprint and the
// image spec. Exit 3, with the reason, when the model cannot be loaded; 1 when anything else fails.

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <vector>

#include "server/engine/torch_executor.h"
#include "tests/support/no_device_memory.h"

namespace embedd {
namespace {

int Dump(int argc, char** argv) {
  absl::StatusOr<ModelFolder> model = ReadModelFolder(argv[1]);
  if (!model.ok()) {
    std::cerr << model.status().message() << "\n";
    return 3;
  }
  TorchExecutor::Options options;
  if (argc > 4) options.dtype = ValueIn(kDtypes, argv[4]).value();
  if (argc > 5) options.threads = std::atoi(argv[5]);
  const size_t image_bytes = size_t{3} * model->image.height * model->image.width;
  auto executor = TorchExecutor::Create(*std::move(model), std::make_unique<NoDeviceMemory>(), options);
  if (!executor.ok()) {
    std::cerr << executor.status().message() << "\n";
    return 1;
  }

  std::ifstream in(argv[2], std::ios::binary);
  const std::vector<char> pixels((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<const uint8_t*> images;
  for (size_t at = 0; at + image_bytes <= pixels.size(); at += image_bytes) {
    images.push_back(reinterpret_cast<const uint8_t*>(pixels.data()) + at);
  }
  std::vector<float> rows(images.size() * (*executor)->dimension());
  absl::Status status = (*executor)->Load(Tower::kImage);
  if (status.ok())
    status = (*executor)->Run(Tower::kImage, images, static_cast<int>(images.size()), absl::MakeSpan(rows));
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  std::ofstream out(argv[3], std::ios::binary);
  out.write(reinterpret_cast<const char*>(rows.data()),
            static_cast<std::streamsize>(rows.size() * sizeof(float)));
  const ModelSpec& spec = (*executor)->spec();
  std::cout << "fingerprint " << spec.fingerprint << "\nimage " << spec.image.height << "x"
            << spec.image.width << " resize " << static_cast<int>(spec.image.resize_mode) << " interpolation "
            << static_cast<int>(spec.image.interpolation) << "\n";
  return out.flush() ? 0 : 1;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "tower_dump MODEL_FOLDER PIXELS OUT [DTYPE [THREADS]]\n";
    return 2;
  }
  return embedd::Dump(argc, argv);
}
