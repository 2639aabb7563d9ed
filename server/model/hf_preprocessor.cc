// SPDX-License-Identifier: Apache-2.0

#include "server/model/hf_preprocessor.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/model/json_reader.h"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int64_t kLargestImage = 4096;
constexpr int64_t kMostPatches = 4096;  // each sees all others: sixteen times what the published models take
constexpr std::array<float, 3> kHalf = {0.5f, 0.5f, 0.5f};
constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};

// One row for each class of processors.
struct Row {
  const char* name;
  HfProcessor processor;
};
constexpr Row kRows[] = {
    {"CLIPImageProcessor", HfProcessor::kClip},        {"CLIPFeatureExtractor", HfProcessor::kClip},
    {"ChineseCLIPImageProcessor", HfProcessor::kClip}, {"ChineseCLIPFeatureExtractor", HfProcessor::kClip},
    {"SiglipImageProcessor", HfProcessor::kSiglip},    {"Siglip2ImageProcessor", HfProcessor::kSiglip2},
    {"BitImageProcessor", HfProcessor::kBit},          {"ViTImageProcessor", HfProcessor::kVit},
    {"ViTFeatureExtractor", HfProcessor::kVit},        {"DINOv3ViTImageProcessor", HfProcessor::kDinov3},
};

// Transformers 4 has two of each, and 5 other two.
HfProcessor ReadProcessor(JsonReader& r, HfProcessor fallback) {
  std::string name = r.String("image_processor_type", r.String("feature_extractor_type", ""));
  if (name.empty()) return fallback;
  absl::string_view stem = name;
  if (!absl::ConsumeSuffix(&stem, "Fast")) absl::ConsumeSuffix(&stem, "Pil");
  for (const Row& row : kRows) {
    if (stem == row.name) return row.processor;
  }
  r.Fail("image_processor_type", absl::StrCat("\"", Printable(name), "\" is not known"),
         absl::StatusCode::kUnimplemented);
  return fallback;
}

// {"height": h, "width": w}, [h, w], or one number for both. {0, 0} when absent or wrong.
std::pair<int, int> ReadSize(JsonReader& reader, absl::string_view key, const std::string& file) {
  const json* value = reader.Find(key);
  if (value == nullptr) return {0, 0};
  const auto good = [](const json& side) {
    return side.is_number_unsigned() && side.get<uint64_t>() >= 1 &&
           side.get<uint64_t>() <= uint64_t{kLargestImage};
  };
  if (value->is_array()) {
    if (value->size() == 2 && good((*value)[0]) && good((*value)[1]))
      return {(*value)[0].get<int>(), (*value)[1].get<int>()};
    reader.Fail(key, "must be a number, [HEIGHT, WIDTH], or an object with height and width");
    return {0, 0};
  }
  if (!value->is_object()) {
    const int side = static_cast<int>(reader.Int(key, 0, 1, kLargestImage));
    return {side, side};
  }
  JsonReader size(*value, file, std::string(key));
  const std::pair<int, int> read = {static_cast<int>(size.Int("height", 0, 1, kLargestImage)),
                                    static_cast<int>(size.Int("width", 0, 1, kLargestImage))};
  if (!size.status().ok()) reader.Fail(key, size.status().message());
  if (read.first == 0 || read.second == 0) reader.Fail(key, "must have a height and a width");
  return read;
}

// Steps that a processor can leave out; the server always does them.
void RequireSteps(JsonReader& reader) {
  for (absl::string_view step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"}) {
    if (!reader.Bool(step, true)) reader.Fail(step, "must be true", absl::StatusCode::kUnimplemented);
  }
  if (reader.Bool("do_pad", false) && reader.Find("pad_size") != nullptr)
    reader.Fail("pad_size", "is not read: images are not padded", absl::StatusCode::kUnimplemented);
  if (reader.Bool("use_square_size", false))
    reader.Fail("use_square_size", "must be false", absl::StatusCode::kUnimplemented);
}

// What the class says where the file is silent.
void SetDefaults(HfProcessor processor, ImageSpec* image) {
  if (processor == HfProcessor::kSiglip || processor == HfProcessor::kSiglip2 ||
      processor == HfProcessor::kVit) {
    image->mean = image->std = kHalf;
  }
  if (processor == HfProcessor::kDinov3) {
    image->mean = kImageNetMean;
    image->std = kImageNetStd;
    image->resize_kind = ResizeKind::kFloat;
  }
}

void ReadResample(JsonReader& r, HfProcessor processor, ImageSpec* image) {
  const bool bilinear = processor == HfProcessor::kVit || processor == HfProcessor::kDinov3 ||
                        processor == HfProcessor::kSiglip2;
  const int64_t resample = r.Int("resample", bilinear ? 2 : 3, 0, 5);  // numbers of PIL.Image.Resampling
  if (resample == 2) image->interpolation = Interpolation::kBilinear;
  if (resample != 2 && resample != 3) {
    r.Fail("resample", "must be 3 (bicubic) or 2 (bilinear)", absl::StatusCode::kUnimplemented);
  }
  // Class ViT of transformers 4 wrote 1/255 as well; 1/127.5 is ViViT's.
  if (std::abs(r.Number("rescale_factor", 1.0 / 255, 0, 1) - 1.0 / 255) > 1e-9) {
    r.Fail("rescale_factor", "must be 1/255", absl::StatusCode::kUnimplemented);
  }
}

// Whether images are brought to a height and a width, and not by their shortest edge, which counts where a
// file has both. Other ways to say a size are refused: they would make other pixels.
bool HasBothSides(JsonReader& r, const json* size, bool crops) {
  const bool square = r.Bool("default_to_square", !crops);
  if (size == nullptr) return !crops;
  if (size->is_number()) return square;
  if (!size->is_object()) return true;
  for (const char* other : {"longest_edge", "max_height", "max_width"}) {
    if (const auto it = size->find(other); it != size->end() && !it->is_null()) {
      r.Fail("size",
             absl::StrCat(other, " is not read; there may be shortest_edge alone, or height and width"),
             absl::StatusCode::kUnimplemented);
    }
  }
  const auto shortest = size->find("shortest_edge");
  return shortest == size->end() || shortest->is_null();
}

// Resize to the shortest edge and crop, or to both sides. Returns the size of the result.
std::pair<int, int> ReadGeometry(JsonReader& r, const std::string& file, HfProcessor processor,
                                 ImageSpec* image) {
  const bool crops = processor == HfProcessor::kClip || processor == HfProcessor::kBit;
  const json* size = r.Find("size");
  const bool floats = image->resize_kind == ResizeKind::kFloat;
  const bool squash = HasBothSides(r, size, crops);
  std::pair<int, int> crop = ReadSize(r, "crop_size", file);
  if (crop.first == 0) crop = {224, 224};
  const bool center_crop = r.Bool("do_center_crop", crops);
  if (squash) {
    image->resize_mode = ResizeMode::kSquash;
    std::pair<int, int> whole = size == nullptr ? std::make_pair(224, 224) : ReadSize(r, "size", file);
    if (center_crop && whole != crop)
      r.Fail("size", "must equal crop_size", absl::StatusCode::kUnimplemented);
    return whole;
  }
  if (floats) r.Fail("size", "must have a height and a width", absl::StatusCode::kUnimplemented);
  if (!center_crop) {  // after a resize to the shortest edge something is left to crop
    r.Fail("do_center_crop", "must be true, unless size has a height and a width",
           absl::StatusCode::kUnimplemented);
  }
  int64_t shortest = 224;
  if (size != nullptr && size->is_object()) {
    JsonReader inner(*size, file, "size");
    shortest = inner.Int("shortest_edge", 224, 1, kLargestImage);
    if (!inner.status().ok()) r.Fail("size", inner.status().message());
  } else {
    shortest = r.Int("size", 224, 1, kLargestImage);
  }
  if (shortest < crop.first || shortest < crop.second ||
      (shortest != crop.first && crop.first != crop.second)) {
    r.Fail("size", "the shortest edge must not be less than crop_size", absl::StatusCode::kUnimplemented);
  } else if (shortest != crop.first || shortest != crop.second) {
    image->resize = static_cast<int>(shortest);
  }
  return crop;
}

// As many whole patches as max_num_patches. Returns what a square image becomes.
std::pair<int, int> ReadPatches(JsonReader& r, const TowerConfig& vision, ImageSpec* image) {
  image->resize_mode = ResizeMode::kPatches;
  image->patch = static_cast<int>(r.Int("patch_size", 16, 1, kLargestImage));
  image->max_patches = static_cast<int>(r.Int("max_num_patches", 256, 1, kMostPatches));
  if (r.status().ok() && image->patch != vision.patch) {
    r.Fail("patch_size",
           absl::StrCat("is ", image->patch, ", the image tower takes patches of ", vision.patch));
  }
  const int64_t pixels = int64_t{image->patch} * image->patch * image->max_patches;
  if (r.status().ok() && pixels > kLargestImage * kLargestImage) {
    r.Fail("max_num_patches",
           absl::StrCat("patches of ", image->patch, "x", image->patch, " pixels are at most ",
                        kLargestImage * kLargestImage / image->patch / image->patch, " an image here"));
  }
  const int side = static_cast<int>(std::sqrt(static_cast<double>(image->max_patches))) * image->patch;
  return {side, side};
}

// Towers of images of any shape have a processor of their own, and nobody else has it.
void CheckProcessor(JsonReader& r, HfProcessor processor, const TowerConfig& vision) {
  const bool varies = vision.max_patches > 0;
  if ((processor == HfProcessor::kSiglip2) == varies) return;
  r.Fail("image_processor_type",
         varies ? "must be Siglip2ImageProcessor, as the tower takes images of any shape (model_type siglip2)"
                : "Siglip2ImageProcessor makes images of any shape, and the tower takes one size");
}

}  // namespace

absl::StatusOr<ImageSpec> ParseHfPreprocessor(absl::string_view text, const std::string& file,
                                              const TowerConfig& vision, HfProcessor fallback,
                                              bool any_size) {
  absl::StatusOr<json> parsed = ParseJson(text, file);
  if (!parsed.ok()) return parsed.status();
  JsonReader top(*parsed, file);
  const json* nested = top.Find("image_processor");  // in a processor_config.json
  if (!top.status().ok()) return top.status();
  JsonReader r(nested == nullptr ? *parsed : *nested, file, nested == nullptr ? "" : "image_processor");
  ImageSpec image;
  image.crop_rounding = CropRounding::kFloor;
  const HfProcessor processor = ReadProcessor(r, fallback);
  CheckProcessor(r, processor, vision);
  SetDefaults(processor, &image);
  RequireSteps(r);
  r.Channels("image_mean", /*positive=*/false, &image.mean);
  r.Channels("image_std", /*positive=*/true, &image.std);
  ReadResample(r, processor, &image);
  if (image.resize_kind == ResizeKind::kFloat && image.interpolation != Interpolation::kBilinear) {
    r.Fail("resample", "must be 2 (bilinear) for this processor", absl::StatusCode::kUnimplemented);
  }
  const std::pair<int, int> size = processor == HfProcessor::kSiglip2
                                       ? ReadPatches(r, vision, &image)
                                       : ReadGeometry(r, file, processor, &image);
  image.height = size.first;
  image.width = size.second;
  if (r.status().ok() && !any_size && size != std::make_pair(vision.image_height, vision.image_width)) {
    r.Fail(image.resize_mode == ResizeMode::kSquash ? "size" : "crop_size",
           absl::StrCat("is ", size.first, "x", size.second, ", the image tower takes ", vision.image_height,
                        "x", vision.image_width));
  }
  if (!r.status().ok()) return r.status();
  return image;
}

}  // namespace embedd
