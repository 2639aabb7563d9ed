// SPDX-License-Identifier: Apache-2.0
//
// How long OpenMP's threads spin while they wait for each other, before they sleep: some tens of
// microseconds, unless the environment says otherwise (GOMP_SPINCOUNT, OMP_WAIT_POLICY). Waking a thread that
// sleeps took a sixth of the time of a single image; one that spins on takes the processor from the one it
// waits for, and with other programs on the machine a batch took up to 60 times longer (docs/performance.md).
// GNU's library reads its environment when it is loaded, so the program replaces itself once.

#pragma once

namespace embedd {

// Call first in main, before any thread. Does not come back where the program has to be replaced.
void LimitSpinning(char** argv);

// The same for the .preinit_array of a program: before the libraries start, since LibTorch takes a fifth of a
// second for that, which would be spent twice. LimitSpinning does what this could not.
void LimitSpinningBeforeLibraries(int argc, char** argv, char** environment);

}  // namespace embedd
