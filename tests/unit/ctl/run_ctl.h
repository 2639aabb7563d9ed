// SPDX-License-Identifier: Apache-2.0
//
// Runs the embedctl binary of this build.

#pragma once

#include <string>
#include <vector>

namespace embedd::client {

struct CtlResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// `arguments` as a shell would pass them. Environment variables EMBEDD_… of the caller are not seen.
// `redirect`: where else its standard output goes, in the shell's words.
CtlResult RunCtl(const std::vector<std::string>& arguments, const std::string& redirect = "");

std::string ReadAll(const std::string& path);

}  // namespace embedd::client
