// SPDX-License-Identifier: Apache-2.0
//
// HTML character references (&amp; &#233; &eacute) as Python's html.unescape and as ftfy read them, which is
// not the same. Called by the cleaning of texts.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace embedd {

// html.unescape: also references without ';', longest name first.
std::u32string UnescapeHtml(std::u32string_view text);

// ftfy's: only references with ';', and a few names in capitals that HTML does not have (&NTILDE;).
std::u32string UnescapeHtmlAsFtfy(std::u32string_view text);

// What windows-1252 has at the code points U+0080 to U+009F, which are control characters in Unicode.
char32_t FromWindows1252(char32_t c);

}  // namespace embedd
