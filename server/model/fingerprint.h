// SPDX-License-Identifier: Apache-2.0
//
// Fingerprint: tells whether two vectors may live in one collection. Two servers have the same one if and
// only if they run the same image tower (shape and every weight that is used), the same preprocessing and the
// same dtype. The device and the name of the folder are not in it. Called by MakeModelSpec.

#pragma once

#include <string>

#include "server/model/model_spec.h"
#include "server/model/vision_config.h"
#include "server/model/vision_weights.h"

namespace embedd {

// 32 hexadecimal digits: the first 128 bits of a SHA-256. Reads all weights once (about a second per
// gigabyte).
std::string Fingerprint(const VisionConfig& vision, const ImageSpec& image, const VisionWeights& weights,
                        const std::string& dtype);

}  // namespace embedd
