// SPDX-License-Identifier: Apache-2.0
//
// Runs the embedctl binary of this build, and keeps files for it.

#pragma once

#include <string>
#include <vector>

namespace embedd::client {

struct CtlResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

// A folder that goes away with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  // Writes a file and returns its path.
  std::string File(const std::string& name, const std::string& content) const;
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// `arguments` as a shell would pass them. Environment variables EMBEDD_… of the caller are not seen.
CtlResult RunCtl(const std::vector<std::string>& arguments);

std::string ReadAll(const std::string& path);

}  // namespace embedd::client
