// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/intake.h"

#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/preprocess.h"
#include "server/rpc/request_checks.h"

namespace embedd {
namespace {

// The prepared pixels of a well-formed input.
absl::StatusOr<std::unique_ptr<uint8_t[]>> PreparePixels(const Road& road, const v1::Input& input,
                                                         const ImageSpec& spec) {
  const size_t bytes = size_t{3} * static_cast<size_t>(spec.height) * static_cast<size_t>(spec.width);
  if (input.has_raw_image()) {
    const v1::RawImage& raw = input.raw_image();
    std::unique_ptr<uint8_t[]> pixels(new uint8_t[bytes]);
    Preprocess(reinterpret_cast<const uint8_t*>(raw.rgb().data()), static_cast<int>(raw.width()),
               static_cast<int>(raw.height()), spec, pixels.get());
    return pixels;
  }
  absl::StatusOr<RgbImage> image = spec.decode == DecodeMode::kFast
                                       ? road.decoder->DecodeFast(input.image(), spec)
                                       : road.decoder->DecodePart(input.image(), spec);
  if (!image.ok()) return image.status();
  std::unique_ptr<uint8_t[]> pixels(new uint8_t[bytes]);
  Preprocess(*image, spec, pixels.get());
  return pixels;
}

absl::StatusOr<std::unique_ptr<uint8_t[]>> PreparePixelsCatching(const Road& road, const v1::Input& input,
                                                                 const ImageSpec& spec) {
  try {
    return PreparePixels(road, input, spec);
  } catch (const std::bad_alloc&) {  // this input fails alone
    return NoHostMemory();
  } catch (const std::exception& e) {  // a bug: this input fails, the server lives on
    return absl::InternalError(absl::StrCat("the image could not be prepared: ", e.what()));
  }
}

void Prepare(Road& road, IntakeItem item) {
  EmbedTask task(item.call, item.index);
  std::optional<Places> place = item.shelf->Take(item.shelf_index);
  if (!place.has_value() || task.dead()) {
    task.Finish(Answer::Failure(Outcome::kCancelled, absl::CancelledError("the caller went away"),
                                Reason::kCancelled));
    return;
  }
  task.place = *std::move(place);
  const absl::Time start = road.clock->TimeNow();
  if (item.deadline <= start) {
    task.Finish(Answer::Failure(
        Outcome::kExpired, absl::DeadlineExceededError("the deadline passed before the image was decoded"),
        Reason::kDeadline));
    return;
  }
  const ModelSpec& model = *road.model.load();
  absl::StatusOr<std::unique_ptr<uint8_t[]>> pixels = PreparePixelsCatching(road, *item.input, model.image);
  item.input->clear_content();
  task.decode_took = road.clock->TimeNow() - start;
  road.metrics->ObserveStage(Stage::kDecode, task.decode_took);
  if (!pixels.ok()) {
    const Reason reason = DecodeReason(pixels.status());
    const bool input_is_bad = reason != Reason::kNone;
    if (input_is_bad) road.metrics->CountRejected(reason);
    task.Finish(Answer::Failure(input_is_bad ? Outcome::kRejected : Outcome::kFailed, pixels.status(),
                                input_is_bad ? reason : Reason::kInternalError));
    return;
  }
  task.pixels = *std::move(pixels);
  task.place.ShrinkTo(PixelBytes(model));
  task.lane = item.lane;
  task.flow = item.flow;
  task.deadline = item.deadline;
  road.queue->Push(std::move(task));
}

}  // namespace

PlaceShelf::PlaceShelf(Places all, const std::vector<int64_t>& bytes) {
  MutexLock lock(&mu_);
  places_.resize(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] >= 0) places_[i] = all.Take(1, bytes[i]);
  }
}

std::optional<Places> PlaceShelf::Take(size_t index) {
  MutexLock lock(&mu_);
  return std::exchange(places_[index], std::nullopt);
}

void PlaceShelf::Clear() {
  std::vector<std::optional<Places>> given_back;  // outside the lock: giving back may wake a stream
  {
    MutexLock lock(&mu_);
    given_back.resize(places_.size());
    given_back.swap(places_);
  }
}

int64_t PixelBytes(const ModelSpec& model) { return int64_t{3} * model.image.height * model.image.width; }

int64_t RoadBytes(const v1::Input& input, const ModelSpec& model) {
  return ContentBytes(input) + PixelBytes(model);
}

void StartIntake(Road* road, IntakeItem item) {
  road->decode_pool->Submit([road, item = std::move(item)]() mutable { Prepare(*road, std::move(item)); });
}

}  // namespace embedd
