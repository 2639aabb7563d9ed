// SPDX-License-Identifier: Apache-2.0
//
// Columns of text, right-aligned, for terminals.

#pragma once

#include <string>
#include <vector>

namespace embedd::ctl {

// Each row has as many cells as `header`. An empty `header` prints rows alone. `widths`, when given, are at
// least kept and grow as needed, so that rows printed later line up with earlier ones.
std::string TableText(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows,
                      std::vector<size_t>* widths = nullptr);

}  // namespace embedd::ctl
