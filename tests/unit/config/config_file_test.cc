// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_file.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace embedd {
namespace {

std::string ErrorOf(const std::string& text) {
  const auto entries = ParseConfigFile("f.toml", text);
  REQUIRE_FALSE(entries.ok());
  CHECK(entries.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(entries.status().message());
}

TEST_CASE("A file holds keys with bare words, strings and lists, and comments") {
  const auto entries = ParseConfigFile("f.toml",
                                       "# settings\r\n"
                                       "\n"
                                       "model = \"/models/a#1 \\\"x\\\" \\\\\"  # a comment\r\n"
                                       "max-batch=32\n"
                                       "token-file = '/run/se\\cret'\n"
                                       "listen = [\"127.0.0.1:1\", unix:x , '[::1]:2']\n"
                                       "  http = off")
                           .value();
  REQUIRE(entries.size() == 5);
  CHECK(entries[0].key == "model");
  CHECK(entries[0].line == 3);
  CHECK(entries[0].values == std::vector<std::string>{"/models/a#1 \"x\" \\"});
  CHECK(entries[1].values == std::vector<std::string>{"32"});
  CHECK(entries[2].values == std::vector<std::string>{"/run/se\\cret"});
  CHECK(entries[3].is_list);
  CHECK(entries[3].values == std::vector<std::string>{"127.0.0.1:1", "unix:x", "[::1]:2"});
  CHECK(entries[4].values == std::vector<std::string>{"off"});
  CHECK(ParseConfigFile("f.toml", "").value().empty());
  CHECK(ParseConfigFile("f.toml", "listen = []").value()[0].values.empty());
}

TEST_CASE("Every error names the file and the line") {
  const std::pair<const char*, const char*> cases[] = {
      {"\nmax-batch: 3", "f.toml:2: \"max-batch: 3\" has no value"},
      {"max-batch =", "f.toml:1: max-batch: the value is missing"},
      {"max-batch = # 3", "f.toml:1: max-batch: the value is missing"},
      {"max-batch = 3 4", "f.toml:1: max-batch: there is text after the value"},
      {"model = \"x", "f.toml:1: model: the string has no end"},
      {"model = 'x", "f.toml:1: model: the string has no end"},
      {"model = \"x\\n\"", "f.toml:1: model: only "},
      {"model = \"x\\", "f.toml:1: model: only "},
      {"listen = [a", "f.toml:1: listen: the list has no end"},
      {"listen = [a] b", "f.toml:1: listen: there is text after"},
      {"[server]\n", "f.toml:1: sections are not used"},
      {"= 3", "f.toml:1: \"\" is not a key"},
      {"a b = 3", "f.toml:1: \"a b\" is not a key"},
      {"a = 1\nb = 2\na = 3", "f.toml:3: a was set before, on line 1"},
  };
  for (const auto& [text, message] : cases) {
    INFO(text);
    CHECK(ErrorOf(text).rfind(message, 0) == 0);
  }
}

}  // namespace
}  // namespace embedd
