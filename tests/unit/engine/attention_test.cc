// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "tests/support/towers.h"

namespace embedd {
namespace {

std::vector<float> Noise(int count, uint32_t seed, float size = 1) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = size * (static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f);
  }
  return values;
}

// softmax(q k^T / sqrt(head_dim)) v in double; key_value [n, tokens, 2 * width].
std::vector<double> Reference(int n, int queries, int tokens, int width, int heads,
                              const std::vector<float>& query, const std::vector<double>& key_value,
                              bool causal = false) {
  const int head_dim = width / heads;
  std::vector<double> out(static_cast<size_t>(n * queries * width));
  for (int row = 0; row < n * queries; ++row) {
    const double* const tokens_of_image = &key_value[static_cast<size_t>(row / queries * tokens * 2 * width)];
    for (int head = 0; head < heads; ++head) {
      const int seen = causal ? row % queries + 1 : tokens;
      std::vector<double> weight(static_cast<size_t>(seen));
      for (int t = 0; t < seen; ++t) {
        double score = 0;
        for (int i = head * head_dim; i < (head + 1) * head_dim; ++i) {
          score += double{query[static_cast<size_t>(row * width + i)]} * tokens_of_image[t * 2 * width + i];
        }
        weight[static_cast<size_t>(t)] = score / std::sqrt(head_dim);
      }
      const double most = *std::max_element(weight.begin(), weight.end());
      double sum = 0;
      for (double& one : weight) sum += one = std::exp(one - most);
      for (int i = head * head_dim; i < (head + 1) * head_dim; ++i) {
        double& value = out[static_cast<size_t>(row * width + i)];
        for (int t = 0; t < seen; ++t) {
          value += weight[static_cast<size_t>(t)] / sum * tokens_of_image[t * 2 * width + width + i];
        }
      }
    }
  }
  return out;
}

double WorstDifference(const std::vector<float>& got, const std::vector<double>& wanted) {
  REQUIRE(got.size() == wanted.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(double{got[i]} - wanted[i]));
  return worst;  // NaN is lost in max, but is no number that a comparison would take
}

void CheckAttention(int n, int queries, int tokens, int width, int heads, float size) {
  INFO(n << " images, " << queries << " queries, " << tokens << " tokens, width " << width << ", " << heads
         << " heads, numbers up to " << size);
  const std::vector<float> query = Noise(n * queries * width, 1, size);
  const std::vector<float> key_value = Noise(n * tokens * 2 * width, 2, size);
  const std::vector<float> got = RunAttention(n, queries, tokens, width, heads, query, key_value);
  for (const float value : got) REQUIRE(std::isfinite(value));
  const std::vector<double> exact(key_value.begin(), key_value.end());
  const double worst = WorstDifference(got, Reference(n, queries, tokens, width, heads, query, exact));
  // A score is off by some 2^-24 of its products, and an output by as much of itself; a wrong token or head
  // shows as a tenth of `size`.
  CHECK(worst <= 2e-6 * size * std::max(1.0f, size * size));
}

TEST_CASE("Where tokens see only those before them, what stands behind has no part in a query") {
  for (const int tokens : {1, 2, 16, 17, 33, 77}) {
    for (const int head_dim : {64, 72, 88}) {
      const int width = 2 * head_dim;
      INFO(tokens << " tokens, heads of " << head_dim);
      const std::vector<float> query = Noise(2 * tokens * width, 1),
                               key_value = Noise(2 * tokens * 2 * width, 2);
      const std::vector<double> exact(key_value.begin(), key_value.end());
      const std::vector<float> got =
          RunAttention(2, tokens, tokens, width, 2, query, key_value, /*causal=*/true);
      for (const float value : got) REQUIRE(std::isfinite(value));
      CHECK(WorstDifference(got, Reference(2, tokens, tokens, width, 2, query, exact, /*causal=*/true)) <=
            2e-6);
    }
  }
}

TEST_CASE("What fills up an input of a batch has no part in its queries") {
  const int tokens = 50;
  const std::vector<int64_t> own = {1, 16, 17, 49, 50};
  // In the kernels, and in LibTorch (heads of 6).
  for (const int head_dim : {64, 72, 6}) {
    const int n = static_cast<int>(own.size()), width = 2 * head_dim, row = tokens * width;
    INFO("heads of " << head_dim);
    const std::vector<float> query = Noise(n * row, 1);
    std::vector<float> key_value = Noise(n * 2 * row, 2);
    for (int i = 0; i < n; ++i) {  // what would be seen at once
      std::fill(key_value.begin() + i * 2 * row + own[i] * 2 * width, key_value.begin() + (i + 1) * 2 * row,
                1e6f);
    }
    const std::vector<float> got =
        RunAttention(n, tokens, tokens, width, 2, query, key_value, /*causal=*/false, own);
    for (const float value : got) REQUIRE(std::isfinite(value));
    for (int i = 0; i < n; ++i) {
      const std::vector<float> of_one(query.begin() + i * row, query.begin() + (i + 1) * row);
      const std::vector<double> seen(key_value.begin() + i * 2 * row,
                                     key_value.begin() + i * 2 * row + own[i] * 2 * width);
      const std::vector<float> rows(got.begin() + i * row, got.begin() + (i + 1) * row);
      CHECK(WorstDifference(rows, Reference(1, tokens, static_cast<int>(own[i]), width, 2, of_one, seen)) <=
            2e-6);
    }
  }
}

TEST_CASE("Attention is a softmax over the tokens, whatever its sizes") {
  // Around the tile (6 or 11 queries), the panel (16 or 32 tokens) and heads that fit no kernel (24, 88).
  for (const int tokens : {1, 2, 15, 16, 17, 31, 32, 33, 50, 65, 257})
    CheckAttention(2, tokens, tokens, 128, 2, 1);
  for (const int queries : {1, 5, 6, 7, 11, 12, 13, 50}) CheckAttention(3, queries, 50, 64, 1, 1);
  for (const int head_dim : {16, 24, 32, 48, 64, 80, 88}) CheckAttention(2, 7, 20, 3 * head_dim, 3, 1);
}

TEST_CASE("Attention of scores that differ by hundreds neither overflows nor loses the largest") {
  CheckAttention(2, 13, 50, 128, 2, 10);
  CheckAttention(2, 13, 50, 128, 2, 30);
}

TEST_CASE("Attention of one query without keys and values is the one with them") {
  const int n = 3, tokens = 50, width = 128;
  for (const int heads : {1, 2, 4}) {
    INFO(heads << " heads");
    const std::vector<float> query = Noise(n * width, 1), x = Noise(n * tokens * width, 2);
    const std::vector<float> weight = Noise(2 * width * width, 3, 0.2f), bias = Noise(2 * width, 4);
    std::vector<double> key_value(static_cast<size_t>(n * tokens * 2 * width));
    for (int row = 0; row < n * tokens; ++row) {
      for (int out = 0; out < 2 * width; ++out) {
        double sum = bias[static_cast<size_t>(out)];
        for (int i = 0; i < width; ++i) {
          sum += double{x[static_cast<size_t>(row * width + i)]} *
                 double{weight[static_cast<size_t>(out * width + i)]};
        }
        key_value[static_cast<size_t>(row * 2 * width + out)] = sum;
      }
    }
    const std::vector<float> got = RunOneQueryAttention(n, tokens, width, heads, query, x, weight, bias);
    CHECK(WorstDifference(got, Reference(n, 1, tokens, width, heads, query, key_value)) <= 5e-6);
  }
}

}  // namespace
}  // namespace embedd
