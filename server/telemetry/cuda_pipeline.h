// SPDX-License-Identifier: Apache-2.0
//
// CudaPipeline: how batches of images reach an NVIDIA card, the one table of the words for it. Read by the
// flag and by the engine, where CudaPixels does it.

#pragma once

#include "absl/strings/string_view.h"
#include "server/support/word_table.h"

namespace embedd {

enum class CudaPipeline : unsigned char {
  kOff,     // copied, then computed
  kCopies,  // in parts: the next one is copied while one is computed
  kGraphs,  // also, small batches are launched as one recorded graph
};

struct CudaPipelineRow {
  CudaPipeline value;
  absl::string_view word;
};

inline constexpr CudaPipelineRow kCudaPipelines[] = {
    {CudaPipeline::kOff, "off"}, {CudaPipeline::kCopies, "copies"}, {CudaPipeline::kGraphs, "graphs"}};

}  // namespace embedd
