// SPDX-License-Identifier: Apache-2.0
//
// bench_host: the floor of the host path. CPU milliseconds per image of decoding the whole picture and of the
// exact resize, alone and on one thread; one JSON line for each line on stdin, so that a runner can take
// turns with something else.
//
//   bench_host FILE...

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "bench/common.h"
#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/preprocess.h"

namespace embedd::bench {
namespace {

std::string ReadFile(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in || bytes.empty()) Must(absl::NotFoundError(path));
  return bytes;
}

int Main(int argc, char** argv) {
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) files.push_back(ReadFile(argv[i]));
  const std::unique_ptr<FileDecoder> decoder = Must(FileDecoder::Create({}));
  const ImageSpec spec;
  std::vector<uint8_t> out(size_t{3} * static_cast<size_t>(spec.width * spec.height));
  std::string line;
  while (std::getline(std::cin, line)) {
    const int passes = std::stoi(line);
    double decode = 0, resize = 0;
    for (int pass = 0; pass < passes; ++pass) {
      for (const std::string& file : files) {
        const double start = CpuSeconds();
        const RgbImage image = Must(decoder->Decode(file));
        const double decoded = CpuSeconds();
        Preprocess(image.rgb.get(), image.width, image.height, spec, out.data());
        decode += decoded - start;
        resize += CpuSeconds() - decoded;
      }
    }
    const double images = passes * static_cast<double>(files.size());
    std::printf("{\"decode_ms\": %.4f, \"resize_ms\": %.4f}\n", 1e3 * decode / images, 1e3 * resize / images);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace embedd::bench

int main(int argc, char** argv) { return embedd::bench::Main(argc, argv); }
