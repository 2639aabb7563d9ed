// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/image/pil_axis.h"

#include <cstdlib>
#include <utility>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The weights of every output sum to about one, and cover only samples of the image") {
  for (const auto& [in, out] : {std::pair{500, 298}, {10, 67200}, {1, 224}, {224, 224}, {4000, 7}}) {
    CAPTURE(in, out);
    const int count = std::min(out, 300);
    const PilAxis axis(in, out, 0, count, Interpolation::kBicubic);
    for (int i = 0; i < count; ++i) {
      int64_t sum = 0;
      for (int t = 0; t < axis.taps(i); ++t) sum += axis.weights(i)[t];
      CHECK(std::abs(sum - (1 << kPilBits)) <= axis.taps(i));
      CHECK(axis.taps(i) >= 1);
      CHECK(axis.taps(i) <= PilAxis::MaxTaps(in, out, Interpolation::kBicubic));
      CHECK(axis.origin() + axis.start(i) >= 0);
      CHECK(axis.origin() + axis.start(i) + axis.taps(i) <= in);
    }
  }
}

TEST_CASE("A window has the weights of its place in the whole") {
  const PilAxis whole(700, 300, 0, 300, Interpolation::kBilinear);
  const PilAxis window(700, 300, 120, 50, Interpolation::kBilinear);
  for (int i = 0; i < 50; ++i) {
    CHECK(window.origin() + window.start(i) == whole.origin() + whole.start(120 + i));
    REQUIRE(window.taps(i) == whole.taps(120 + i));
    for (int t = 0; t < window.taps(i); ++t) CHECK(window.weights(i)[t] == whole.weights(120 + i)[t]);
  }
  CHECK(window.end() == whole.origin() + whole.start(169) + whole.taps(169));
}

TEST_CASE("The split weights are the weights, padded with zero to whole groups") {
  const PilAxis axis(500, 298, 37, 224, Interpolation::kBicubic);
  for (int i = 0; i < axis.count(); ++i) {
    for (int t = 0; t < axis.groups(i) * kPilGroup; ++t) {
      const int16_t* group = axis.split(i) + t / kPilGroup * 2 * kPilGroup + t % kPilGroup;
      CHECK((group[0] << kPilSplitBits) + group[kPilGroup] == axis.weights(i)[t]);
      if (t >= axis.taps(i)) CHECK(axis.weights(i)[t] == 0);
    }
    CHECK(axis.start(i) + axis.groups(i) * kPilGroup <= axis.reach());
  }
}

}  // namespace
}  // namespace embedd
