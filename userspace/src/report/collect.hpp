// SPDX-License-Identifier: MIT
//
// What a report is made of: commands of ours and of others, files, and what each of them said.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mps::report {

struct Source {
    std::string file{};               // in the archive
    std::vector<std::string> words{}; // a command; empty: these files, one behind the other
    std::vector<std::string> files{};
    std::string only{}; // lines with one of these words, apart by '|'; "" all
    bool ours = false;  // it is mpsched itself, and enters the network namespace by itself
};

struct Collected {
    std::string file{};
    std::string text{};
    std::string trouble{}; // "" or why there is nothing, or not all: "is not installed", "ended with 1"
};

// All that there is to ask, in the order of the report. `program` is ours.
[[nodiscard]] std::vector<Source> sources(const std::string &program, const std::string &netns,
                                          const std::string &config);

// Asks. Commands get ten seconds and 4 MiB each; those of others run in the network namespace of `netns_fd`, unless it is -1.
[[nodiscard]] Collected collect(const Source &source, int netns_fd);

} // namespace mps::report
