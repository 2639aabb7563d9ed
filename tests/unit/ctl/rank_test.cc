// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/rank.h"

#include <numeric>

#include "client/cpp/ctl/texts.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/ctl/run_ctl.h"

namespace embedd::ctl {
namespace {

TEST_CASE("CLIP's probabilities are a softmax over all texts, SigLIP's each text's own") {
  const std::vector<double> cosines{0.3, 0.2, 0.1};
  client::ServerInfo::Model clip;
  clip.similarity = "cosine";
  CHECK_FALSE(Probabilities(cosines, clip));
  clip.logit_scale = 100;
  const auto softmax = *Probabilities(cosines, clip);
  CHECK(std::accumulate(softmax.begin(), softmax.end(), 0.0) == Approx(1));
  CHECK(softmax[0] / softmax[1] == Approx(std::exp(10.0)));
  client::ServerInfo::Model siglip;
  siglip.similarity = "sigmoid";
  siglip.logit_scale = 100;
  siglip.logit_bias = -20;
  const auto sigmoid = *Probabilities(cosines, siglip);
  CHECK(sigmoid[0] == Approx(1 / (1 + std::exp(-10.0))));
  CHECK(sigmoid[1] == Approx(0.5));
  // Scales that would overflow without care.
  clip.logit_scale = 1e6;
  CHECK((*Probabilities(cosines, clip))[0] == Approx(1));
}

TEST_CASE("Texts are the arguments, then the lines of the file as they are") {
  const TempFolder dir;
  const TextFlags flags{.texts = {"first"},
                        .file = dir.Write("texts",
                                          "\xef\xbb\xbf"
                                          "one\r\n\n two \nlast")};
  const auto texts = Texts(flags);
  REQUIRE(texts.ok());
  CHECK(*texts == std::vector<std::string>{"first", "one", "", " two ", "last"});
  CHECK(Texts({.file = dir.Write("empty", "")})->empty());
  CHECK_FALSE(Texts({.file = dir.At("missing")}).ok());
}

TEST_CASE("A long text is shown by its beginning, whole characters, one line") {
  CHECK(Shown("a\nb\tc") == "a b c");
  std::string text(59, 'x');
  text += "\xc3\xa4 and more";
  CHECK(Shown(text) == std::string(59, 'x') + "...");
}

}  // namespace
}  // namespace embedd::ctl
