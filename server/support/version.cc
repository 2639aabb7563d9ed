// SPDX-License-Identifier: Apache-2.0

#include "server/support/version.h"

namespace embedd {

std::string_view Version() { return EMBEDD_VERSION; }

}  // namespace embedd
