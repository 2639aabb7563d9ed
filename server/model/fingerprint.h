// SPDX-License-Identifier: Apache-2.0
//
// Fingerprint: tells whether two vectors may live in one collection. Two servers have the same one if and
// only if they run the same image tower (shape and every weight that is used), the same preprocessing and the
// same dtype. The device and the name of the folder are not in it. Called by MakeModelSpec.

#pragma once

#include <string>

#include "server/model/model_spec.h"
#include "server/model/text_spec.h"
#include "server/model/tower_config.h"
#include "server/model/tower_weights.h"

namespace embedd {

// 32 hexadecimal digits: the first 128 bits of a SHA-256. Reads all weights once (about a second per
// gigabyte).
std::string Fingerprint(const TowerConfig& vision, const ImageSpec& image, const TowerWeights& weights,
                        Dtype dtype);

// The same of a text tower. `tokenizer`: what identifies the files and rules that make ids of texts.
std::string TextFingerprint(const TowerConfig& text, const TextSpec& spec, const TowerWeights& weights,
                            const std::string& tokenizer, Dtype dtype);

}  // namespace embedd
