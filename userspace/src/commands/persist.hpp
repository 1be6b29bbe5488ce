// SPDX-License-Identifier: MIT
//
// --persist of the commands that change what mpsched.toml can say as well.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"

namespace mps::cli {

// What was asked for, as far as a file can say it.
struct Kept {
    enum class What { attach, detach, path, forget, use, unuse, set };
    What what = What::attach;
    std::vector<std::string> names{}; // interfaces; none: all
    std::string mode{};
    std::string role = "host";
    std::string policy{};
    std::vector<std::string> settings{}; // "key=value"
    std::optional<std::string> selector{};
    Direction direction = Direction::both; // of use
};

// Runs a command. With `persist` what is to be kept is checked before, and written when the command has succeeded; without, and
// where mpschedd runs, the answer says that it will not last.
[[nodiscard]] Result<Reply> lasting(const Context &context, bool persist, const Kept &kept,
                                    const std::function<Result<Reply>()> &run);

} // namespace mps::cli
