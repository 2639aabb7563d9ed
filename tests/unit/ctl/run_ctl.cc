// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/ctl/run_ctl.h"

#include <stdlib.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/catch.h"

namespace embedd::client {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "embedd-client-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::File(const std::string& name, const std::string& content) const {
  std::ofstream(Path(name), std::ios::binary) << content;
  return Path(name);
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

CtlResult RunCtl(const std::vector<std::string>& arguments) {
  const TempDir dir;
  std::string command = "env -u EMBEDD_TARGET -u EMBEDD_HTTP -u EMBEDD_TOKEN_FILE '" EMBEDCTL "'";
  for (const auto& argument : arguments) command += " '" + argument + "'";
  command += " >'" + dir.Path("out") + "' 2>'" + dir.Path("err") + "' </dev/null";
  const int status = std::system(command.c_str());
  CtlResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  result.out = ReadAll(dir.Path("out"));
  result.err = ReadAll(dir.Path("err"));
  return result;
}

}  // namespace embedd::client
