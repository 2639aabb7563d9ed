// SPDX-License-Identifier: Apache-2.0
//
// ReadStoredZip: where each entry of a ZIP file lies that only stores, as torch.save writes them. Nothing is
// ever inflated. Used by ReadCheckpoint. Format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3 (Zip64).

#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/mapped_file.h"

namespace embedd {

// The bytes of each entry by its name, views into `file`. No two entries overlap. Errors: kInvalidArgument,
// naming file and entry, when it is not well formed or an entry is compressed or encrypted.
absl::StatusOr<std::map<std::string, absl::string_view>> ReadStoredZip(const MappedFile& file);

}  // namespace embedd
