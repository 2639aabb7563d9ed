// SPDX-License-Identifier: Apache-2.0
//
// pixel_dump: decodes and prepares image files as the server does and writes the bytes, for test_pixels.py.
//
//   pixel_dump OUT FILES SPECS      FILES holds one path a line, SPECS one spec a line (or "raw": decoded
//   RGB8).
//     Writes OUT/<file number>.<spec number>: planar uint8 [3, height, width] by the way of the server, which
//     leaves out what the crop does not show, or for "raw" [height, width, 3] of the whole picture. Prints
//     per file
//     "<number>\tok\t<width>\t<height>" or "<number>\t<reason or code>\t<message>".
//   pixel_dump --time ROUNDS FILES SPECS
//     Prints per file and spec "<number>\t<spec>\t<decode ms>\t<resize ms>\t<both ms>": CPU time, the least
//     of ROUNDS in which they take turns. "Both" is the way of the server, the others are the whole
//     picture's.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "server/prepare/image/file_decoder.h"
#include "server/prepare/image/preprocess.h"
#include "tests/parity/pixels/pixel_spec.h"

namespace embedd {
namespace {

std::vector<std::string> ReadLines(const char* path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteFile(const std::string& path, const uint8_t* data, size_t size) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
}

std::vector<uint8_t> RoomFor(const ImageSpec& spec) {
  return std::vector<uint8_t>(static_cast<size_t>(spec.bytes()));
}

// Of images of any shape without the grid in front and what is not used behind.
absl::Span<const uint8_t> PixelsOf(absl::Span<const uint8_t> prepared, const ImageSpec& spec) {
  if (spec.resize_mode != ResizeMode::kPatches) return prepared;
  const int64_t pixels = PatchGrid::Read(prepared.data()).count() * spec.patch * spec.patch;
  return prepared.subspan(PatchGrid::kBytes, static_cast<size_t>(3 * pixels));
}

ImageSpec SpecOrExit(const std::string& text) {
  const std::optional<ImageSpec> spec = ParsePixelSpec(text);
  if (!spec) {
    std::cerr << "no spec: " << text << "\n";
    std::exit(2);
  }
  return *spec;
}

void WriteImage(const std::string& path, const RgbImage& image) {
  WriteFile(path, image.rgb.get(), size_t{3} * image.width * image.height);
}

void Dump(const ImageDecoder& decoder, const std::string& out, const std::vector<std::string>& files,
          const std::vector<std::string>& specs) {
  for (size_t f = 0; f < files.size(); ++f) {
    const std::string file = ReadFile(files[f]);
    const absl::StatusOr<RgbImage> image = decoder.Decode(file);
    if (!image.ok()) {
      const std::string reason(ReasonWord(DecodeReason(image.status())));
      std::cout << f << "\t" << (reason.empty() ? image.status().ToString() : reason) << "\t"
                << image.status().message() << "\n";
      continue;
    }
    for (size_t s = 0; s < specs.size(); ++s) {
      const std::string path = absl::StrFormat("%s/%d.%d", out, f, s);
      if (specs[s] == "raw") {
        WriteImage(path, *image);
      } else {
        const ImageSpec spec = SpecOrExit(specs[s]);
        std::vector<uint8_t> bytes = RoomFor(spec);
        if (!decoder.Prepare(file, spec, bytes.data()).ok()) continue;
        const absl::Span<const uint8_t> pixels = PixelsOf(bytes, spec);
        WriteFile(path, pixels.data(), pixels.size());
      }
    }
    std::cout << f << "\tok\t" << image->width << "\t" << image->height << "\n";
  }
}

// CPU time of all threads: what a server pays, and steadier than the wall clock on a busy machine.
double CpuMilliseconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

void Time(const ImageDecoder& decoder, int rounds, const std::vector<std::string>& files,
          const std::vector<std::string>& specs) {
  for (size_t f = 0; f < files.size(); ++f) {
    const std::string file = ReadFile(files[f]);
    for (const std::string& text : specs) {
      const ImageSpec spec = SpecOrExit(text);
      std::vector<uint8_t> out = RoomFor(spec);
      double decode = 1e9, resize = 1e9, both = 1e9;
      for (int i = 0; i < rounds; ++i) {
        const double start = CpuMilliseconds();
        double decoded = 0, resized = 0;
        {
          const absl::StatusOr<RgbImage> image = decoder.Decode(file);
          decoded = CpuMilliseconds();
          if (!image.ok()) break;
          Preprocess(image->rgb.get(), image->width, image->height, spec, out.data());
          resized = CpuMilliseconds();
        }
        const double freed = CpuMilliseconds();
        if (!decoder.Prepare(file, spec, out.data()).ok()) break;
        decode = std::min(decode, decoded - start);
        resize = std::min(resize, resized - decoded);
        both = std::min(both, CpuMilliseconds() - freed);
      }
      std::cout << f << "\t" << text << "\t" << decode << "\t" << resize << "\t" << both << "\n";
    }
  }
}

int Main(int argc, char** argv) {
  const bool time = argc == 5 && std::string(argv[1]) == "--time";
  if (!time && argc != 4) {
    std::cerr << "usage: pixel_dump OUT FILES SPECS | pixel_dump --time ROUNDS FILES SPECS\n";
    return 2;
  }
  ImageDecoder::Limits limits;
  limits.max_image_bytes = int64_t{256} << 20;
  limits.formats = FormatSet::All();
  const auto decoder = FileDecoder::Create(limits);
  if (!decoder.ok()) {
    std::cerr << decoder.status() << "\n";
    return 1;
  }
  if (time) {
    Time(**decoder, std::atoi(argv[2]), ReadLines(argv[3]), ReadLines(argv[4]));
  } else {
    Dump(**decoder, argv[1], ReadLines(argv[2]), ReadLines(argv[3]));
  }
  return 0;
}

}  // namespace
}  // namespace embedd

int main(int argc, char** argv) { return embedd::Main(argc, argv); }
