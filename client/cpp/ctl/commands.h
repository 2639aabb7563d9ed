// SPDX-License-Identifier: Apache-2.0
//
// The commands of embedctl. Each Add… puts one command with its flags and examples into `app`; when the user
// picked it, CLI11 calls it after parsing and its exit code lands in `exit_code`. `common` is filled by then.

#pragma once

#include "client/cpp/ctl/common.h"

namespace embedd::ctl {

void AddInfo(CLI::App& app, const Common& common, int* exit_code);
void AddEmbed(CLI::App& app, const Common& common, int* exit_code);
void AddRank(CLI::App& app, const Common& common, int* exit_code);
void AddProbe(CLI::App& app, const Common& common, int* exit_code);
void AddVerify(CLI::App& app, const Common& common, int* exit_code);
void AddProfile(CLI::App& app, const Common& common, int* exit_code);
void AddBatches(CLI::App& app, const Common& common, int* exit_code);
void AddBench(CLI::App& app, const Common& common, int* exit_code);
void AddRequest(CLI::App& app, const Common& common, int* exit_code);
// offload and reload.
void AddAdmin(CLI::App& app, const Common& common, int* exit_code);

}  // namespace embedd::ctl
