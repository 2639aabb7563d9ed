// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "tests/support/towers.h"

namespace embedd {
namespace {

std::vector<float> Noise(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f;
  }
  return values;
}

// In double, one number after the other.
std::vector<double> Reference(size_t rows, size_t in, size_t out, const std::vector<float>& x,
                              const std::vector<float>& w, const std::vector<float>& bias,
                              const std::vector<float>& sum) {
  std::vector<double> y(rows * out);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t o = 0; o < out; ++o) {
      double total = (bias.empty() ? 0.0 : double{bias[o]}) + (sum.empty() ? 0.0 : double{sum[r * out + o]});
      for (size_t i = 0; i < in; ++i) total += double{x[r * in + i]} * double{w[o * in + i]};
      y[r * out + o] = total;
    }
  }
  return y;
}

double LargestDifference(const std::vector<float>& y, const std::vector<double>& wanted) {
  REQUIRE(y.size() == wanted.size());
  double largest = 0;
  for (size_t i = 0; i < y.size(); ++i) largest = std::max(largest, std::abs(double{y[i]} - wanted[i]));
  return largest;
}

void CheckAgainstReference(const PanelKernel& kernel, int rows, int in, int out, bool with_bias,
                           bool onto_sum) {
  INFO(kernel.name << ": " << rows << " rows, " << in << " inputs, " << out << " outputs, bias " << with_bias
                   << ", sum " << onto_sum);
  const auto size = [](int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); };
  const std::vector<float> x = Noise(size(rows, in), 1), w = Noise(size(out, in), 2);
  const std::vector<float> bias = with_bias ? Noise(size(out, 1), 3) : std::vector<float>();
  const std::vector<float> sum = onto_sum ? Noise(size(rows, out), 4) : std::vector<float>();
  const std::vector<float> y = RunPanelProduct(kernel, rows, in, out, x, w, bias, sum);
  const std::vector<double> wanted = Reference(static_cast<size_t>(rows), static_cast<size_t>(in),
                                               static_cast<size_t>(out), x, w, bias, sum);
  // Rounding alone: some 2^-24 of a partial sum for each input. A wrong number is off by a tenth or more.
  CHECK(LargestDifference(y, wanted) <= 1e-6 * std::max(4.0, static_cast<double>(in) / 8));
}

TEST_CASE("A product in panels is the product, whatever its sizes") {
  int kernels = 0;
  for (const PanelKernel* kernel :
       {Avx2PanelKernel(), Avx512PanelKernel(), WideAvx512PanelKernel(), AmxPanelKernel()}) {
    if (kernel == nullptr) continue;
    ++kernels;
    const auto check = [&](int rows, int in, int panels, bool bias, bool sum) {
      CheckAgainstReference(*kernel, rows, in, panels * static_cast<int>(kernel->columns), bias, sum);
    };
    // Around the tile (6 to 10 rows, 8 inputs, a panel of outputs) and the blocks (90 or 96 rows, 768
    // inputs).
    for (int rows = 1; rows <= 13; ++rows) check(rows, 64, 3, true, false);
    for (const int rows : {23, 24, 50, 89, 90, 91, 96, 97, 200, 208}) check(rows, 64, 3, true, false);
    for (const int in : {1, 7, 8, 9, 588, 767, 768, 769, 1600}) check(13, in, 2, true, false);
    for (const int panels : {1, 2, 25}) check(7, 100, panels, true, false);
    // A last panel that is not full: one output, and all but one.
    const int columns = static_cast<int>(kernel->columns);
    for (const int out : {1, columns + 1, 3 * columns - 1}) {
      for (const bool sum : {false, true})
        CheckAgainstReference(*kernel, 101, 800, out, /*with_bias=*/true, sum);
      CheckAgainstReference(*kernel, 13, 64, out, /*with_bias=*/false, /*onto_sum=*/false);
    }
    // Hidden layers that no panel of 32 divides: EVA02-L's and so400m's.
    for (const int hidden : {2730, 4304}) {
      CheckAgainstReference(*kernel, 50, 64, hidden, /*with_bias=*/true, /*onto_sum=*/false);
      CheckAgainstReference(*kernel, 13, hidden, 64, /*with_bias=*/true, /*onto_sum=*/true);
    }
    for (const int rows : {400, 415}) check(rows, 1600, 1, true, true);  // several chunks of rows
    for (const bool bias : {false, true}) {
      for (const bool sum : {false, true}) check(101, 800, 4, bias, sum);
    }
  }
  if (kernels == 0) WARN("skipped: this processor has no AVX2");
}

TEST_CASE("Products in tiles of bf16 are as exact as those of f32") {
  if (AmxPanelKernel() == nullptr) {
    WARN("skipped: this processor, or its system, has no AMX for bf16");
    return;
  }
  CHECK(WidestPanelKernel() == AmxPanelKernel());  // what layers take
  constexpr int kRows = 70, kIn = 768, kOut = 64;
  // Numbers of very different sizes, as activations are: what one product loses another does not hide.
  std::vector<float> x = Noise(size_t{kRows} * kIn, 5), w = Noise(size_t{kOut} * kIn, 6);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(i * 7 % 23) - 16);
  const std::vector<double> wanted = Reference(kRows, kIn, kOut, x, w, {}, {});
  const auto run = [&](const PanelKernel& kernel) {
    return LargestDifference(RunPanelProduct(kernel, kRows, kIn, kOut, x, w, {}, {}), wanted);
  };
  const double plain = run(*Avx512PanelKernel());
  CHECK(plain > 0);
  CHECK(run(*AmxPanelKernel()) <= plain);  // with two parts instead of three it is a hundred times as much
}

TEST_CASE("GELU by tanh is what its formula says, to the last digits") {
  for (const PanelKernel* kernel : {Avx2PanelKernel(), Avx512PanelKernel()}) {
    if (kernel == nullptr) continue;
    std::vector<float> x;  // a length that no vector divides
    for (int i = -2000; i <= 2000; ++i) x.push_back(static_cast<float>(i) * 0.0101f);
    x.push_back(1e30f);
    x.push_back(-1e30f);
    std::vector<float> y = x;
    y.push_back(7);
    kernel->gelu_tanh(y.data(), static_cast<int64_t>(x.size()));
    CHECK(y.back() == 7);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i],
                   wanted = v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      INFO(kernel->name << " of " << v);
      REQUIRE(std::abs(y[i] - wanted) <= 1e-6 * std::max(0.1, std::abs(wanted)));
    }
    float nan = std::nanf("");
    kernel->gelu_tanh(&nan, 1);
    CHECK(std::isnan(nan));
  }
}

TEST_CASE("A few columns take the widest kernel into whose panels they divide") {
  CHECK(PanelKernelFor(24) == nullptr);
  CHECK(PanelKernelFor(48) == Avx2PanelKernel());  // 32 does not divide it
  CHECK(PanelKernelFor(64) == (Avx512PanelKernel() != nullptr ? Avx512PanelKernel() : Avx2PanelKernel()));
}

}  // namespace
}  // namespace embedd
