// SPDX-License-Identifier: Apache-2.0

#include "client/cpp/ctl/table.h"

#include <algorithm>

namespace embedd::ctl {
namespace {

void Widen(const std::vector<std::string>& cells, std::vector<size_t>* widths) {
  if (widths->size() < cells.size()) widths->resize(cells.size(), 0);
  for (size_t i = 0; i < cells.size(); ++i) (*widths)[i] = std::max((*widths)[i], cells[i].size());
}

void Append(const std::vector<std::string>& cells, const std::vector<size_t>& widths, std::string* text) {
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) text->append("  ");
    text->append(widths[i] - cells[i].size(), ' ').append(cells[i]);
  }
  text->push_back('\n');
}

}  // namespace

std::string TableText(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows, std::vector<size_t>* widths) {
  std::vector<size_t> own;
  if (widths == nullptr) widths = &own;
  Widen(header, widths);
  for (const auto& row : rows) Widen(row, widths);
  std::string text;
  if (!header.empty()) Append(header, *widths, &text);
  for (const auto& row : rows) Append(row, *widths, &text);
  return text;
}

}  // namespace embedd::ctl
