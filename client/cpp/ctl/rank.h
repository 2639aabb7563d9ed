// SPDX-License-Identifier: Apache-2.0
//
// How well texts fit an image: cosines to probabilities. Pure.

#pragma once

#include <optional>
#include <span>
#include <vector>

#include "embedd/client.h"

namespace embedd::ctl {

// Of two vectors of length 1.
double Cosine(std::span<const float> a, std::span<const float> b);

// The probability of each text, given the cosines of all texts with one image: a softmax over them, or, for
// models trained that way, each text's own sigmoid. Nothing for models that do not say their scale.
std::optional<std::vector<double>> Probabilities(std::span<const double> cosines,
                                                 const client::ServerInfo::Model& model);

}  // namespace embedd::ctl
