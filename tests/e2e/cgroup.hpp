// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "traffic.hpp"

namespace mps::e2e {

/// A cgroup in the v2 hierarchy; gone with the object, which moves this process back before.
class Cgroup {
  public:
    /// A name of its own with this ending.
    explicit Cgroup(std::string_view ending = "");
    Cgroup(const Cgroup &) = delete;
    Cgroup &operator=(const Cgroup &) = delete;
    ~Cgroup();

    [[nodiscard]] bool enter() const;
    [[nodiscard]] bool leave() const;
    /// As systemd does with a unit that starts again: the same name, another cgroup.
    void make_anew() const;
    const std::string &path() const { return path_; }
    std::string name() const { return path_.substr(path_.rfind('/') + 1); }

  private:
    TemporaryFolder mounted_;
    std::string home_;
    std::string path_;
};

} // namespace mps::e2e
