// SPDX-License-Identifier: Apache-2.0
//
// Writes checkpoints as torch.save does, and such as it never would: a ZIP of stored entries with a pickle of
// protocol 2. For the tests of the reader.

#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/model/state_dict_pickle.h"
#include "tests/support/random_model.h"

namespace embedd {

// A ZIP file of these entries. `wide`: every size and place in Zip64 fields, as files over 4 GiB have them.
std::string StoredZip(const std::vector<std::pair<std::string, std::string>>& entries, bool wide = false);

// The instructions that build a state dict of these tensors, up to STOP.
std::string StateDictPickle(const std::vector<PickledTensor>& tensors);

// A whole checkpoint of F32 tensors.
std::string Checkpoint(const std::map<std::string, HostTensor>& tensors);

}  // namespace embedd
