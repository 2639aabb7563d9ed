// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cpu_features.h"

#include <ATen/cpu/Utils.h>

namespace embedd {

bool CpuHasAny(std::initializer_list<const char*> names) {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  for (const char* name : names) {
    const auto it = capabilities.find(name);
    if (it != capabilities.end() && it->second.isBool() && it->second.toBool()) return true;
  }
  return false;
}

bool CpuMultipliesBf16() { return CpuHasAny({"avx512_bf16", "amx_bf16"}); }

bool CpuMultipliesInt8() {
  static const bool kYes = CpuHasAny({"avx512_vnni", "avx_vnni", "amx_int8"});
  return kYes;
}

}  // namespace embedd
