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

void CheckAgainstReference(int rows, int in, int out, bool with_bias, bool onto_sum) {
  INFO(rows << " rows, " << in << " inputs, " << out << " outputs, bias " << with_bias << ", sum "
            << onto_sum);
  const auto size = [](int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); };
  const std::vector<float> x = Noise(size(rows, in), 1), w = Noise(size(out, in), 2);
  const std::vector<float> bias = with_bias ? Noise(size(out, 1), 3) : std::vector<float>();
  const std::vector<float> sum = onto_sum ? Noise(size(rows, out), 4) : std::vector<float>();
  const std::vector<float> y = RunPanelProduct(rows, in, out, x, w, bias, sum);
  const std::vector<double> wanted = Reference(static_cast<size_t>(rows), static_cast<size_t>(in),
                                               static_cast<size_t>(out), x, w, bias, sum);
  REQUIRE(y.size() == wanted.size());
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(double{y[i]} - wanted[i]));
  // Rounding alone: some 2^-24 of a partial sum for each input. A wrong number is off by a tenth or more.
  CHECK(worst <= 1e-6 * std::max(4.0, static_cast<double>(in) / 8));
}

bool PanelsUsable() {
  const std::vector<WeightLayout> usable = UsableLayouts();
  return std::find(usable.begin(), usable.end(), WeightLayout::kPanels) != usable.end();
}

TEST_CASE("A product in panels is the product, whatever its sizes") {
  if (!PanelsUsable()) {
    WARN("skipped: this processor has no AVX2");
    return;
  }
  // Around the tile (6 rows, 8 inputs, 16 outputs) and the blocks (96 rows, 768 inputs).
  for (const int rows : {1, 2, 5, 6, 7, 13, 50, 96, 97, 200})
    CheckAgainstReference(rows, 64, 48, true, false);
  for (const int in : {1, 7, 8, 9, 588, 767, 768, 769, 1600}) CheckAgainstReference(13, in, 32, true, false);
  for (const int out : {16, 32, 400}) CheckAgainstReference(7, 100, out, true, false);
  for (const bool bias : {false, true}) {
    for (const bool sum : {false, true}) CheckAgainstReference(101, 800, 64, bias, sum);
  }
}

}  // namespace
}  // namespace embedd
