// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/preparer.h"

#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/preprocess.h"

namespace embedd {
namespace {

using Pixels = std::unique_ptr<uint8_t[]>;

absl::StatusOr<Pixels> PreparePixels(const ImageDecoder& decoder, const PrepareItem& item,
                                     const ImageSpec& spec) {
  const size_t bytes = static_cast<size_t>(spec.bytes());
  if (item.width > 0) {
    Pixels pixels(new uint8_t[bytes]);
    Preprocess(reinterpret_cast<const uint8_t*>(item.bytes.data()), item.width, item.height, spec,
               pixels.get());
    return pixels;
  }
  absl::StatusOr<RgbImage> image = spec.decode == DecodeMode::kFast ? decoder.DecodeFast(item.bytes, spec)
                                                                    : decoder.DecodePart(item.bytes, spec);
  if (!image.ok()) return image.status();
  Pixels pixels(new uint8_t[bytes]);
  Preprocess(*image, spec, pixels.get());
  return pixels;
}

absl::StatusOr<Pixels> PreparePixelsCatching(const ImageDecoder& decoder, const PrepareItem& item,
                                             const ImageSpec& spec) {
  try {
    return PreparePixels(decoder, item, spec);
  } catch (const std::bad_alloc&) {  // this input fails alone
    return NoHostMemory();
  } catch (const std::exception& e) {  // a bug: this input fails, the server lives on
    return absl::InternalError(absl::StrCat("the image could not be prepared: ", e.what()));
  }
}

}  // namespace

int64_t PixelBytes(const ModelSpec& model) { return model.image.bytes(); }

void Preparer::Prepare(PrepareItem item) const {
  EmbedTask task = std::move(item.task);
  const absl::Time start = deps_.clock->TimeNow();
  const ModelSpec& model = *deps_.model->load();
  absl::StatusOr<Pixels> pixels = PreparePixelsCatching(*deps_.decoder, item, model.image);
  std::string().swap(item.bytes);  // before its place shrinks
  task.decode_took = deps_.clock->TimeNow() - start;
  deps_.metrics->ObserveStage(Stage::kDecode, task.decode_took);
  if (!pixels.ok()) {
    const Reason reason = DecodeReason(pixels.status());
    const bool input_is_bad = reason != Reason::kNone;
    if (input_is_bad) deps_.metrics->CountRejected(reason);
    task.Finish(Answer::Failure(input_is_bad ? Outcome::kRejected : Outcome::kFailed, pixels.status(),
                                input_is_bad ? reason : Reason::kInternalError));
    return;
  }
  deps_.cost->Add(item.load, task.decode_took);
  task.pixels = *std::move(pixels);
  task.place.ShrinkTo(PixelBytes(model));
  deps_.queue->Push(std::move(task));
}

}  // namespace embedd
