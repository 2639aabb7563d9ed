// SPDX-License-Identifier: Apache-2.0

#include "server/support/log.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/captured_stderr.h"
#include "tests/support/catch.h"

namespace embedd {
namespace {

// Ends with logging as a program starts it.
class CapturedLog : public CapturedStderr {
 public:
  ~CapturedLog() { ConfigureLogging("info", "text"); }
};

TEST_CASE("In JSON each event is one line and one object, whatever its strings hold") {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte.push_back(static_cast<char>(byte));
  const std::vector<std::string> hostile = {
      "plain",       "",   every_byte,     "\",\"level\":\"fake", "}\n{\"msg\":\"forged\"}",
      "%v {} %s %n", "\\", "\xED\xA0\x80", "gr\xC3\xBC\xC3\x9F",  std::string(1 << 20, '\xFF')};
  std::vector<std::string> lines;
  {
    CapturedLog captured;
    ConfigureLogging("debug", "json");
    for (const std::string& text : hostile) LogInfo(text, {{"value", text}, {"n", "1"}});
    lines = captured.Lines();
  }
  REQUIRE(lines.size() == hostile.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const nlohmann::json object = nlohmann::json::parse(lines[i]);  // throws on anything else
    CHECK(object.size() == 5);
    CHECK(object.at("level") == "info");
    CHECK(object.at("value") == object.at("msg"));
    CHECK(object.at("n") == "1");
    const std::string time = object.at("time");
    CHECK(time.size() == std::string("2026-01-31T00:00:00.000Z").size());
    CHECK(time[10] == 'T');
    CHECK(time.back() == 'Z');
    if (i != 2 && i < 7) CHECK(object.at("msg") == hostile[i]);  // UTF-8 comes through as it is
  }
}

TEST_CASE("Lines below the level are not written") {
  std::vector<std::string> lines;
  {
    CapturedLog captured;
    ConfigureLogging("warn", "text");
    LogDebug("debug");
    LogInfo("info");
    LogWarn("warned");
    LogError("failed", {{"why", "x y"}});
    lines = captured.Lines();
  }
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].substr(24) == " warn   warned");
  CHECK(lines[1].substr(24) == " error  failed  why=\"x y\"");
}

TEST_CASE("Auto means JSON where stderr is no terminal") {
  CapturedLog captured;
  ConfigureLogging("info", "auto");
  LogInfo("x");
  const std::vector<std::string> lines = captured.Lines();
  REQUIRE(lines.size() == 1);
  CHECK(nlohmann::json::parse(lines[0]).at("msg") == "x");
}

TEST_CASE("Lines of several threads do not mix") {
  std::vector<std::string> lines;
  {
    CapturedLog captured;
    ConfigureLogging("info", "json");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 100; ++i) LogInfo(std::string(300, 'm'));
      });
    }
    for (std::thread& thread : threads) thread.join();
    lines = captured.Lines();
  }
  CHECK(lines.size() == 400);
  for (const std::string& line : lines) CHECK(nlohmann::json::parse(line).at("msg") == std::string(300, 'm'));
}

}  // namespace
}  // namespace embedd
