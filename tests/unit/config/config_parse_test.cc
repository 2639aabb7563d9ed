// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_parse.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "server/config/config_flags.h"
#include "server/support/version.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

absl::StatusOr<ParsedConfig> Parse(std::vector<const char*> arguments, const Environment& environment = {}) {
  arguments.insert(arguments.begin(), "embedd");
  return ParseConfig(static_cast<int>(arguments.size()), arguments.data(), environment);
}

std::string ErrorOf(const std::vector<const char*>& arguments, const Environment& environment = {}) {
  const auto parsed = Parse(arguments, environment);
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(parsed.status().message());
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Setting SettingOf(const ParsedConfig& parsed, const std::string& name) {
  for (const Setting& setting : parsed.settings) {
    if (setting.name == name) return setting;
  }
  FAIL("no setting " << name);
  return {};
}

TEST_CASE("A flag wins over the environment, that over the file, that over the default") {
  const TempFolder folder;
  const std::string file = folder.Write("config", "max-batch = 8\n");
  const Environment environment = {{"EMBEDD_MAX_BATCH", "16"}};
  struct Row {
    bool flag, env, file;
    int value;
    const char* source;
  };
  const Row rows[] = {{true, true, true, 32, "flag"},  {true, true, false, 32, "flag"},
                      {true, false, true, 32, "flag"}, {true, false, false, 32, "flag"},
                      {false, true, true, 16, "env"},  {false, true, false, 16, "env"},
                      {false, false, true, 8, "file"}, {false, false, false, 64, "default"}};
  for (const Row& row : rows) {
    std::vector<const char*> arguments = {"--model", "m"};
    if (row.flag) arguments.insert(arguments.end(), {"--max-batch", "32"});
    if (row.file) arguments.insert(arguments.end(), {"--config", file.c_str()});
    const ParsedConfig parsed = Parse(arguments, row.env ? environment : Environment()).value();
    INFO(row.source);
    CHECK(parsed.config.max_batch == row.value);
    CHECK(SettingOf(parsed, "max-batch").value == std::to_string(row.value));
    CHECK(SettingOf(parsed, "max-batch").source == row.source);
    CHECK(SettingOf(parsed, "max-inputs").source == "default");
  }
}

TEST_CASE("Every flag is read from the command line, the environment and the file alike") {
  // A value other than the default for each.
  const std::map<std::string, std::string> values = {{"model", "/m"},
                                                     {"device", "cpu"},
                                                     {"towers", "image"},
                                                     {"dtype", "f32"},
                                                     {"int8-min-cosine", "0.98"},
                                                     {"threads", "3"},
                                                     {"cuda-pipeline", "copies"},
                                                     {"listen", "127.0.0.1:1,unix:x"},
                                                     {"http", "off"},
                                                     {"rest", "[::1]:8080"},
                                                     {"tls-cert", "/dev/null"},
                                                     {"tls-key", "/dev/null"},
                                                     {"tls-client-ca", "/dev/null"},
                                                     {"token-file", "/dev/null"},
                                                     {"allow-insecure", "true"},
                                                     {"reflection", "on"},
                                                     {"max-message-bytes", "1MiB"},
                                                     {"max-inputs", "7"},
                                                     {"max-image-bytes", "2MB"},
                                                     {"max-pixels", "5Mpx"},
                                                     {"formats", "jpeg,png"},
                                                     {"decode", "fast"},
                                                     {"decode-threads", "2"},
                                                     {"queue-images", "9"},
                                                     {"queue-bytes", "10MiB"},
                                                     {"max-batch", "4"},
                                                     {"latency-target", "off"},
                                                     {"memory-limit", "1GiB"},
                                                     {"release", "idle"},
                                                     {"idle-offload", "5m"},
                                                     {"drain-timeout", "1m30s"},
                                                     {"drain-delay", "250ms"},
                                                     {"max-connection-age", "10m"},
                                                     {"otlp-endpoint", "http://c:1"},
                                                     {"log-level", "debug"},
                                                     {"log-format", "json"}};
  REQUIRE(values.size() == Flags().size());
  for (const Flag& flag : Flags()) {
    const std::string name(flag.name);
    INFO(name);
    const std::string& value = values.at(name);
    std::vector<std::string> given;
    if (name == "listen") {
      given = {"--listen=127.0.0.1:1", "--listen", "unix:x"};
    } else {
      given = {"--" + name + "=" + value};
    }
    std::vector<const char*> arguments = {"--print-config"};
    for (const std::string& text : given) arguments.push_back(text.c_str());
    const TempFolder folder;
    const std::string file = folder.Write("config", name + " = \"" + value + "\"\n");
    const std::vector<ParsedConfig> all = {
        Parse(arguments).value(), Parse({"--print-config"}, {{EnvironmentName(flag.name), value}}).value(),
        Parse({"--print-config", "--config", file.c_str()}).value(),
        Parse({"--print-config"}, {{"EMBEDD_CONFIG", file}}).value()};
    for (const ParsedConfig& parsed : all) {
      if (name == "drain-timeout") {
        CHECK(parsed.config.drain_timeout == absl::Seconds(90));
      } else {
        CHECK(SettingOf(parsed, name).value == value);
      }
      CHECK(SettingOf(parsed, name).source != "default");
      CHECK(parsed.warnings.empty());
    }
  }
}

TEST_CASE("A list replaces the list of a weaker source") {
  const TempFolder folder;
  const std::string file = folder.Write("config", "listen = [\"127.0.0.1:1\", 'unix:a b']\n");
  CHECK(Parse({"--model", "m", "--config", file.c_str()}).value().config.listen ==
        std::vector<std::string>{"127.0.0.1:1", "unix:a b"});
  CHECK(Parse({"--model", "m", "--config", file.c_str(), "--listen", "127.0.0.1:9"}).value().config.listen ==
        std::vector<std::string>{"127.0.0.1:9"});
}

TEST_CASE("The last of a repeated flag counts") {
  CHECK(Parse({"--model", "m", "--max-batch", "2", "--max-batch", "4"}).value().config.max_batch == 4);
}

TEST_CASE("An empty environment variable counts as none") {
  const ParsedConfig parsed = Parse({"--model", "m"}, {{"EMBEDD_DTYPE", ""}}).value();
  CHECK(parsed.config.dtype == Dtype::kAuto);
  CHECK(SettingOf(parsed, "dtype").source == "default");
}

TEST_CASE("Every malformed value is an error that names its flag and what to give") {
  const std::pair<const char*, const char*> cases[] = {
      {"--device", "gpu"},          {"--dtype", "int4"},         {"--threads", "-1"},
      {"--threads", "many"},        {"--listen", "50051"},       {"--http", "unix:x"},
      {"--http", "9464"},           {"--reflection", "maybe"},   {"--max-message-bytes", "3GiB"},
      {"--max-message-bytes", "1"}, {"--max-inputs", "0"},       {"--max-inputs", "1.5"},
      {"--max-image-bytes", "0"},   {"--max-pixels", "64MiB"},   {"--decode-threads", "5000"},
      {"--queue-images", "0"},      {"--queue-bytes", "10"},     {"--max-batch", "0"},
      {"--max-batch", "1025"},      {"--latency-target", "200"}, {"--latency-target", "-1s"},
      {"--memory-limit", "lots"},   {"--release", "sometimes"},  {"--idle-offload", "1ms"},
      {"--drain-timeout", "soon"},  {"--drain-delay", "2h"},     {"--log-level", "trace"},
      {"--log-format", "xml"},      {"--int8-min-cosine", "1.5"}};
  for (const auto& [flag, value] : cases) {
    INFO(flag << " " << value);
    const std::string message = ErrorOf({"--model", "m", flag, value});
    CHECK(message.rfind(std::string(flag) + ": \"" + value + "\"", 0) == 0);
    CHECK((Contains(message, "give ") || Contains(message, "write ")));
  }
}

TEST_CASE("An error of the environment or the file says where it comes from") {
  CHECK(Contains(ErrorOf({"--model", "m"}, {{"EMBEDD_MAX_BATCH", "x"}}),
                 "--max-batch (from EMBEDD_MAX_BATCH): "));
  const TempFolder folder;
  const std::string file = folder.Write("config", "\nmax-batch = x\n");
  CHECK(Contains(ErrorOf({"--model", "m", "--config", file.c_str()}), "--max-batch (from " + file + ":2): "));
  const std::string list = folder.Write("list", "max-batch = [1, 2]\n");
  CHECK(Contains(ErrorOf({"--model", "m", "--config", list.c_str()}), "--max-batch"));
}

TEST_CASE("Unknown names are errors that suggest the nearest, but an unknown variable is a warning") {
  CHECK(ErrorOf({"--modle", "m"}) == "unknown flag --modle; did you mean --model?");
  CHECK(ErrorOf({"--max_batch=3"}) == "unknown flag --max_batch; did you mean --max-batch?");
  CHECK(ErrorOf({"--model", "m", "extra"}) == "\"extra\" is no flag; see --help");
  CHECK(ErrorOf({"--model"}) == "--model needs a value");
  const TempFolder folder;
  const std::string file = folder.Write("config", "max-btach = 3\n");
  CHECK(ErrorOf({"--model", "m", "--config", file.c_str()}) ==
        file + ":1: unknown key max-btach; did you mean max-batch?");
  CHECK(ErrorOf({"--config", "/nowhere/at/all"}) == "--config: cannot read /nowhere/at/all");
  CHECK(ErrorOf({"--config", "/"}) == "--config: cannot read /");
  CHECK(Parse({"--model", "m", "--config", "/dev/null"}).ok());  // an empty file says nothing
  const ParsedConfig parsed =
      Parse({"--model", "m"},
            {{"EMBEDD_MAXBATCH", "3"}, {"EMBEDD_TARGET", "host:1"}, {"EMBEDD_ZZZZZZZZ", ""}})
          .value();
  REQUIRE(parsed.warnings.size() == 2);
  CHECK(parsed.warnings[0] ==
        "unknown environment variable EMBEDD_MAXBATCH is ignored; did you mean EMBEDD_MAX_BATCH?");
  CHECK(parsed.warnings[1] == "unknown environment variable EMBEDD_ZZZZZZZZ is ignored");
}

TEST_CASE("Help, version and print-config need no model and make an output") {
  CHECK(Contains(Parse({"--help"}).value().output, "Usage: embedd --model DIR"));
  CHECK(Contains(Parse({"-h"}).value().output, "--max-batch"));
  CHECK(Parse({"--version"}).value().output == "embedd " + std::string(Version()) + "\n");
  const std::string printed =
      Parse({"--print-config", "--max-batch", "3"}, {{"EMBEDD_DEVICE", "cpu"}}).value().output;
  CHECK(Contains(printed, "max-batch           3"));
  CHECK(Contains(printed, "  flag\n"));
  CHECK(Contains(printed, "  env\n"));
  CHECK(Parse({"--model", "m"}).value().output.empty());
}

TEST_CASE("The environment of the process is read by its prefix") {
  setenv("EMBEDD_TEST_ONLY", "a=b", 1);
  setenv("NOT_EMBEDD_TEST", "x", 1);
  const Environment environment = ProcessEnvironment();
  CHECK(environment.at("EMBEDD_TEST_ONLY") == "a=b");
  CHECK(environment.count("NOT_EMBEDD_TEST") == 0);
  unsetenv("EMBEDD_TEST_ONLY");
  unsetenv("NOT_EMBEDD_TEST");
}

}  // namespace
}  // namespace embedd
