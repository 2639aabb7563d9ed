// SPDX-License-Identifier: Apache-2.0
//
// PanelProduct: x W^T in f32 for x86 processors with AVX2 and FMA, or AVX-512. Part of LinearLayer.
//
// The weight is kept in panels of 16, 32 or 48 output columns, each stored in the order in which the kernel
// reads it, so it streams through the cache once per 96 rows, the next panel being fetched while one is
// computed, and nothing is rearranged at run time. MKL rearranges a plain weight in every call, in every
// thread: two fifths of the processor time of a single image (50 rows), on Zen 3. Loops after Goto and van de
// Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34:3, 2008), without their copy of x,
// which did not pay.
//
// The panels are ordinary memory of LibTorch's allocator. Thread-safe once made.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "server/engine/panel_kernel.h"

namespace embedd {

class PanelProduct {
 public:
  // True when this processor has the instructions.
  static bool Available();

  // The best kernel for an f32 weight [out, in] on cpu; null without any, and for a few outputs that do not
  // divide into panels.
  static const PanelKernel* KernelFor(const at::Tensor& weight);

  // Copies the weight.
  PanelProduct(const at::Tensor& weight, const PanelKernel& kernel);

  const PanelKernel& kernel() const { return kernel_; }

  // x [..., in] f32, contiguous -> x W^T + bias [..., out]; bias [out] or undefined.
  at::Tensor Apply(const at::Tensor& x, const at::Tensor& bias) const;

  // sum += x W^T + bias; sum [..., out] f32, contiguous.
  void AddTo(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& bias) const;

 private:
  void Run(const at::Tensor& x, const at::Tensor& bias, bool add, const at::Tensor& out) const;

  const PanelKernel& kernel_;
  int64_t out_ = 0, in_ = 0;
  at::Tensor panels_;  // for each block of inputs, for each panel: [inputs of the block, kernel_.columns]
};

}  // namespace embedd
