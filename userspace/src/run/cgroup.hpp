// SPDX-License-Identifier: MIT
//
// A cgroup of its own for a command and all that it starts, so that a rule can name them.
#pragma once

#include <string>

#include "mpsched/error.hpp"

namespace mps::run {

class CommandCgroup {
  public:
    /// Below the cgroup of this process, which is in it afterwards.
    [[nodiscard]] static Result<CommandCgroup> enter_new();

    /// Below the mount point of cgroup v2, as the selector cgroup= has it.
    [[nodiscard]] const std::string &path() const { return path_; }

    /// As a directory.
    [[nodiscard]] const std::string &folder() const { return folder_; }

    /// Moves this process back to where enter_new() was called.
    void leave() const;
    /// Goes back to where enter_new() was called, and removes the cgroup as soon as nobody is left in it: within a second, or not at all.
    void leave_and_remove() const;

  private:
    CommandCgroup(std::string parent, std::string folder, std::string path)
        : parent_(std::move(parent)), folder_(std::move(folder)), path_(std::move(path)) {}

    std::string parent_, folder_, path_;
};

} // namespace mps::run
