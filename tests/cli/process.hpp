// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Runs a program and tells what it wrote and how it ended.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/child.hpp"

namespace mps::test {

struct Outcome : Ending {
    std::string out;
    std::string err;
};

struct RunOptions {
    std::vector<std::string> environment{}; // "NAME=value", added to ours
    // Called with the process id whenever something arrived on standard error.
    std::function<void(pid_t, const std::string &err)> on_error_output{};
    enum class Output { pipe, closed, broken_pipe, full_device } output = Output::pipe;
    std::string input{}; // a script for programs that read one
};

// Fails the test if the program does not end within 20 seconds.
[[nodiscard]] Outcome run(const std::vector<std::string> &words, const RunOptions &options = {});

} // namespace mps::test
