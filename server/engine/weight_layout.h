// SPDX-License-Identifier: Apache-2.0
//
// WeightLayout: the layouts in which a product can keep its weights.

#pragma once

namespace embedd {

// How the weights of a tower's products lie in memory (layout_choice.h picks one).
enum class WeightLayout {
  kPlain,   // [out, in], for LibTorch's own product
  kOneDnn,  // oneDNN's blocks, with the activation or the sum in the same kernel
  kPanels,  // those of PanelProduct
};

}  // namespace embedd
