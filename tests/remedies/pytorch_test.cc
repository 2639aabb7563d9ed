// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "server/engine/torch_device.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE(
    "Remedy 6: the LibTorch that runs is new enough, and an old or another one is refused with the reason") {
  CHECK(CheckLibTorch().ok());
  CHECK_THAT(LibTorchVersion(), ContainsSubstring("2."));

  CHECK(CheckLibTorchVersions({2, 13, 0}, {2, 13, 0}).ok());
  CHECK(CheckLibTorchVersions({2, 13, 0}, {2, 13, 2}).ok());  // a patch release keeps its interface
  CHECK(CheckLibTorchVersions({3, 0, 0}, {3, 0, 1}).ok());

  const absl::Status old = CheckLibTorchVersions({2, 12, 0}, {2, 12, 1});
  CHECK(absl::IsFailedPrecondition(old));
  CHECK_THAT(std::string(old.message()), ContainsSubstring("2.12.1") && ContainsSubstring("2.13") &&
                                             ContainsSubstring("memory can be measured"));

  const absl::Status other = CheckLibTorchVersions({2, 13, 0}, {2, 14, 0});
  CHECK(absl::IsFailedPrecondition(other));
  CHECK_THAT(std::string(other.message()), ContainsSubstring("2.14.0") && ContainsSubstring("2.13.0") &&
                                               ContainsSubstring("build it again"));
}

}  // namespace
}  // namespace embedd
