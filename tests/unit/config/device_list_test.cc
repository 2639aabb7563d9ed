// SPDX-License-Identifier: Apache-2.0

#include "server/config/device_list.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::vector<std::string> Names(const char* text) {
  std::vector<std::string> names;
  const absl::StatusOr<std::vector<DeviceChoice>> list = ParseDeviceList(text);
  if (!list.ok()) return {std::string(list.status().message())};
  for (const DeviceChoice& choice : *list) names.push_back(choice.name);
  return names;
}

TEST_CASE("One device, or several in their order, each with a name of its own") {
  CHECK(Names("auto") == std::vector<std::string>{"auto"});
  CHECK(Names("cpu") == std::vector<std::string>{"cpu"});
  CHECK(Names("cuda:0,cuda:1") == std::vector<std::string>{"cuda:0", "cuda:1"});
  CHECK(Names("cpu,cpu") == std::vector<std::string>{"cpu:0", "cpu:1"});
  CHECK(Names("mps,cpu") == std::vector<std::string>{"mps", "cpu"});
  CHECK(ParseDeviceList("cuda,cuda:1")->at(1).index == 1);
  CHECK(ParseDeviceList("cpu,cpu")->at(1).index == 1);
}

TEST_CASE("What is no list of devices is refused, with what to give") {
  for (const char* wrong :
       {"", "gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "cuda:64", "cpu:0", "cpu,", "CPU"}) {
    INFO(wrong);
    const absl::Status status = ParseDeviceList(wrong).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(status.message().find("cuda:0,cuda:1") != absl::string_view::npos);
  }
  CHECK(Names("cuda,cuda:0") == std::vector<std::string>{"\"cuda:0\" is there twice"});
  CHECK(Names("auto,cpu") == std::vector<std::string>{"auto stands alone"});
  CHECK(ParseDeviceList("cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu").ok());
  CHECK_FALSE(ParseDeviceList("cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu").ok());
}

}  // namespace
}  // namespace embedd
