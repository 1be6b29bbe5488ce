// SPDX-License-Identifier: MIT
//
// What a command gets and what it gives back. A command prints nothing: it returns both forms of its
// answer, and main() writes one of them when everything is done. So output is never half-done, and an error
// never follows it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/signals.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "output/table.hpp"
#include "json/documents.hpp"

namespace mps::cli {

using mps::Json;

struct Globals {
    bool json = false;
    int json_form = 0; // 2: every document is an object with its version
    bool verbose = false;
    std::string netns;
    std::uint32_t wait_s = 10;
};

struct Context {
    Globals globals;
    output::Style style; // of standard output
    LogSink log{};       // with --verbose

    [[nodiscard]] OpenOptions open_options() const {
        return {.netns = globals.netns,
                .lock_timeout_ms = globals.wait_s * 1000,
                .give_up = [] { return SignalHold::pending() != 0; },
                .log = log};
    }
    [[nodiscard]] Result<Instance> open() const { return Instance::open(open_options()); }
};

struct Reply {
    Json json;
    std::string text; // for people; ends with a newline unless empty
    // Things that need attention although the command succeeded: on standard error, and "warnings" in JSON
    // if that is an object.
    std::vector<std::string> warnings{};
    int exit_code = 0;
    bool streamed = false; // the command has written its answer itself, as it came
};

using Run = std::function<Result<Reply>(const Context &)>;

[[nodiscard]] std::unexpected<Error> usage_error(std::string what, std::string hint = {});

} // namespace mps::cli
