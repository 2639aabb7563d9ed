// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/preparer.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/prepare/image/preprocess.h"

namespace embedd {
namespace {

using Prepared = std::unique_ptr<uint8_t[]>;

Prepared PrepareText(const TextEncoder& encode, const PrepareItem& item) {
  const std::vector<int32_t> ids = encode(item.bytes);
  Prepared bytes(new uint8_t[ids.size() * sizeof(int32_t)]);
  std::memcpy(bytes.get(), ids.data(), ids.size() * sizeof(int32_t));
  return bytes;
}

absl::StatusOr<Prepared> PreparePixels(const ImageDecoder& decoder, const PrepareItem& item,
                                       const ImageSpec& spec) {
  Prepared pixels(new uint8_t[static_cast<size_t>(spec.bytes())]);
  if (item.width > 0) {
    Preprocess(reinterpret_cast<const uint8_t*>(item.bytes.data()), item.width, item.height, spec,
               pixels.get());
    return pixels;
  }
  if (absl::Status status = decoder.Prepare(item.bytes, spec, pixels.get()); !status.ok()) return status;
  return pixels;
}

absl::StatusOr<Prepared> PrepareCatching(const Preparer::Deps& deps, const PrepareItem& item) {
  try {
    if (item.task.tower == Tower::kText) return PrepareText(*deps.encode_text, item);
    return PreparePixels(*deps.decoder, item, deps.model->load()->image);
  } catch (const std::bad_alloc&) {  // this input fails alone
    return NoHostMemory();
  } catch (const std::exception& e) {  // a bug: this input fails, the server lives on
    return absl::InternalError(absl::StrCat("the input could not be prepared: ", e.what()));
  }
}

}  // namespace

int64_t PreparedBytes(const ModelSpec& model, Tower tower) {
  if (tower == Tower::kText) return int64_t{4} * (model.text ? model.text->context_length : 0);
  return model.image.bytes();
}

std::vector<uint8_t> BlankInput(const ModelSpec& model, Tower tower) {
  const bool image = tower == Tower::kImage;
  std::vector<uint8_t> blank(static_cast<size_t>(PreparedBytes(model, tower)), image ? 127 : 0);
  if (image && model.image.resize_mode == ResizeMode::kPatches)
    PatchGrid{1, model.image.max_patches}.Write(blank.data());
  return blank;
}

void Preparer::Prepare(PrepareItem item) const {
  const absl::Time start = deps_.clock->TimeNow();
  absl::StatusOr<Prepared> prepared = PrepareCatching(deps_, item);
  EmbedTask task = std::move(item.task);
  std::string().swap(item.bytes);  // before its place shrinks
  task.decode_took = deps_.clock->TimeNow() - start;
  deps_.metrics->ObserveStage(Stage::kDecode, task.decode_took);
  if (!prepared.ok()) {
    const Reason reason = DecodeReason(prepared.status());
    const bool input_is_bad = reason != Reason::kNone;
    if (input_is_bad) deps_.metrics->CountRejected(reason);
    task.Finish(Answer::Failure(input_is_bad ? Outcome::kRejected : Outcome::kFailed, prepared.status(),
                                input_is_bad ? reason : Reason::kInternalError));
    return;
  }
  deps_.cost->Add(item.load, task.decode_took);
  task.pixels = *std::move(prepared);
  task.place.ShrinkTo(PreparedBytes(*deps_.model->load(), task.tower));
  deps_.queue->Push(std::move(task));
}

}  // namespace embedd
