// SPDX-License-Identifier: Apache-2.0
//
// Names what bytes look like that are none of the formats which this server reads, so that the error says
// what to do. Called by ReadImageHeader.

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "server/prepare/image/image_format.h"

namespace embedd {

// A sentence for people: what the bytes look like, and what to send instead. Never quotes the bytes.
std::string DescribeOtherFormat(absl::string_view file, const FormatSet& formats = FormatSet());

}  // namespace embedd
