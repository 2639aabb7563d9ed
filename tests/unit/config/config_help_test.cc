// SPDX-License-Identifier: Apache-2.0

#include "server/config/config_help.h"

#include <sstream>
#include <string>

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("The help lists every flag with its default, in the order of the road, and fits a terminal") {
  const std::string help = HelpText();
  size_t at = 0;
  for (const Flag& flag : Flags()) {
    const size_t found = help.find("\n  --" + std::string(flag.name), at);
    INFO(std::string(flag.name));
    REQUIRE(found != std::string::npos);
    at = found;
    const std::string value = flag.show(Config());
    if (!value.empty()) CHECK(help.find("[" + value + "]", at) != std::string::npos);
  }
  for (const char* own : {"--config FILE", "--print-config", "--version", "--help", "Exit codes"}) {
    CHECK(help.find(own) != std::string::npos);
  }
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 112);
}

TEST_CASE("The flags are those of the contract, with its defaults") {
  const std::pair<const char*, const char*> contract[] = {{"model", ""},
                                                          {"listen", "127.0.0.1:50051"},
                                                          {"http", "127.0.0.1:9464"},
                                                          {"rest", "off"},
                                                          {"device", "auto"},
                                                          {"towers", "auto"},
                                                          {"dtype", "auto"},
                                                          {"int8-min-cosine", "0.99"},
                                                          {"threads", "cores"},
                                                          {"cuda-pipeline", "off"},
                                                          {"decode", "exact"},
                                                          {"decode-threads", "cores"},
                                                          {"max-batch", "64"},
                                                          {"latency-target", "200ms"},
                                                          {"queue-images", "1024"},
                                                          {"queue-bytes", "512MiB"},
                                                          {"memory-limit", "auto"},
                                                          {"release", "watermark"},
                                                          {"idle-offload", "off"},
                                                          {"drain-timeout", "30s"},
                                                          {"max-message-bytes", "64MiB"},
                                                          {"max-inputs", "1024"},
                                                          {"max-image-bytes", "32MiB"},
                                                          {"max-pixels", "64Mpx"},
                                                          {"formats", "jpeg,png,webp,gif,bmp,tiff,avif"},
                                                          {"tls-cert", ""},
                                                          {"tls-key", ""},
                                                          {"tls-client-ca", ""},
                                                          {"token-file", ""},
                                                          {"allow-insecure", "false"},
                                                          {"log-level", "info"},
                                                          {"log-format", "auto"},
                                                          {"drain-delay", "off"},
                                                          {"max-connection-age", "off"},
                                                          {"otlp-endpoint", "off"},
                                                          {"reflection", "auto"}};
  CHECK(Flags().size() == std::size(contract));
  for (const auto& [name, value] : contract) {
    INFO(name);
    const Flag* const flag = FindFlag(name);
    REQUIRE(flag != nullptr);
    CHECK(flag->show(Config()) == value);
  }
}

TEST_CASE("Every default can be read back") {
  for (const Flag& flag : Flags()) {
    const std::string value = flag.show(Config());
    INFO(std::string(flag.name));
    if (value.empty()) continue;
    Config config;
    if (flag.clear) flag.clear(&config);
    CHECK(flag.set(value, &config).ok());
    CHECK(flag.show(config) == value);
  }
}

TEST_CASE("A mistyped name finds the nearest flag, and nonsense finds none") {
  CHECK(NearestFlag("--max-bach") == "max-batch");
  CHECK(NearestFlag("MAX_BATCH") == "max-batch");
  CHECK(NearestFlag("modle") == "model");
  CHECK(NearestFlag("queue-image") == "queue-images");
  CHECK(NearestFlag("completely-different-thing").empty());
  CHECK(NearestFlag("").empty());
}

}  // namespace
}  // namespace embedd
