// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <mpsched/lab/error.hpp>

namespace mps::lab::cli {

struct ListOptions {
    bool json = false;
};

struct RunCommand {
    std::vector<std::string> scenarios;
    std::string policy = "default";
    std::vector<std::string> params; ///< "key=value"
    std::uint64_t seed = 1;
    bool json = false;
};

int run_list(const ListOptions &options);
int run_scenarios(const RunCommand &command);

/// 1 failed, 2 usage, 3 not supported here, 4 not permitted, 130 interrupted.
int exit_status(const Error &error);
/// The mpsched binary of the same build.
std::string mpsched_path();
/// What happened, and what to do next, on standard error.
void print_error(const Error &error);

} // namespace mps::lab::cli
