// SPDX-License-Identifier: Apache-2.0
//
// Pictures drawn in code, to learn how large the numbers inside a model get, and to check what came of it.
// Used by the int8 calibration. The same on every machine; no LibTorch.

#pragma once

#include <cstdint>
#include <vector>

#include "server/model/model_spec.h"

namespace embedd {

// A spec of pictures of one shape: itself, or of ResizeMode::kPatches by turns square, wide, high and a
// strip.
ImageSpec InOneShape(const ImageSpec& spec, int turn);

// Four kinds by turns: clouds whose detail fades with its size as in photographs, gradients, noise of one
// grain, and shapes with hard edges. Another seed gives other pictures.
//   returns  n pictures as the tower takes them, those of a model of any shape in all its shapes
std::vector<std::vector<uint8_t>> CalibrationPictures(const ImageSpec& spec, int n, uint64_t seed);

// Bytes [3, height, width] as a prepared image of `spec`, which is in one shape.
std::vector<uint8_t> AsPrepared(std::vector<uint8_t> bytes, const ImageSpec& spec);

}  // namespace embedd
