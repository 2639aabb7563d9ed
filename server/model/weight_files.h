// SPDX-License-Identifier: Apache-2.0
//
// WeightFiles: the tensors of a model folder by name, whatever files they lie in: one file, or shards that an
// index lists; .safetensors, or a checkpoint of torch.save. Opened by ReadModelFolder, owned by the
// ModelFolder; who binds, hashes or loads weights sees only the tensors. Owns the mapped files that the views
// point into. No LibTorch.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/mapped_file.h"
#include "server/model/tensor_view.h"

namespace embedd {

class WeightFiles {
 public:
  // Opens one file of weights; its ending says which kind it is. A name that ends in ".index.json" is the
  // index of shards: every file it names must be a bare name of a file beside it and hold the tensors that
  // the index says are there. Errors: kNotFound or kInvalidArgument, naming file and tensor; kUnimplemented
  // for kinds of files that are not read.
  static absl::StatusOr<std::unique_ptr<WeightFiles>> Open(const std::string& path);

  const TensorMap& tensors() const { return tensors_; }
  bool Has(const std::string& name) const { return tensors_.count(name) != 0; }

  // What to name in a message: the file or the index that was opened.
  const std::string& path() const { return path_; }
  // An error about a tensor: "FILE: tensor "NAME": MESSAGE", where FILE is the shard that holds it, if one
  // does.
  absl::Status TensorError(const std::string& name, absl::string_view message) const;

  // Takes `prefix` off every name that has it, if all have it; else changes nothing.
  void StripCommonPrefix(absl::string_view prefix);

  // kDataLoss when a file was changed since it was opened.
  absl::Status CheckUnchanged() const;
  // The pages of the files leave the process; reading a tensor again brings its pages back.
  void DropPages() const;

 private:
  explicit WeightFiles(std::string path) : path_(std::move(path)) {}
  absl::Status Add(const std::string& path);
  absl::Status AddShards();

  const std::string path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  TensorMap tensors_;
  std::map<std::string, const MappedFile*> holders_;  // the file of each tensor
};

}  // namespace embedd
