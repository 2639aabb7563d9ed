// SPDX-License-Identifier: Apache-2.0
//
// Outcome: how an input ended. Every input of every call that reached the service ends in exactly one.

#pragma once

#include <string_view>

namespace embedd {

enum class Outcome {
  kOk,         // a row was computed
  kRejected,   // the input itself was bad
  kRefused,    // the queue was full, or the server was loading, draining or failed
  kExpired,    // its deadline passed, or could not be met
  kCancelled,  // its caller went away
  kFailed,     // the device or the server failed
};

constexpr std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kExpired:
      return "expired";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kFailed:
      return "failed";
  }
  return "failed";
}

}  // namespace embedd
