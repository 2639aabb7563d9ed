// SPDX-License-Identifier: Apache-2.0
//
// Catch2, whichever of 2.13 (Debian) and 3 (Homebrew) is there. Tests include nothing else of Catch2.

#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#else
#include <catch2/catch.hpp>
// As version 3 calls it, where Contains asks for an element.
inline auto ContainsSubstring(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif
