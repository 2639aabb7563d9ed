// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/ctl/run_ctl.h"

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tests/support/temp_folder.h"

namespace embedd::client {

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

CtlResult RunCtl(const std::vector<std::string>& arguments, const std::string& redirect) {
  const TempFolder dir;
  std::string command = "env -u EMBEDD_TARGET -u EMBEDD_HTTP -u EMBEDD_TOKEN_FILE '" EMBEDCTL "'";
  for (const auto& argument : arguments) command += " '" + argument + "'";
  command += " >'" + dir.At("out") + "' 2>'" + dir.At("err") + "' </dev/null " + redirect;
  const int status = std::system(command.c_str());
  CtlResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  result.out = ReadAll(dir.At("out"));
  result.err = ReadAll(dir.At("err"));
  return result;
}

}  // namespace embedd::client
