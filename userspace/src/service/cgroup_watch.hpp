// SPDX-License-Identifier: MIT
//
// When a cgroup that the files name comes, or comes again under its name: a service gets a new one at each start.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "config/desired.hpp"

namespace mps::service {

class CgroupWatch {
  public:
    void want(const config::Desired &desired);
    // Readable when a directory was made beside or above one of them. -1: there is none to watch.
    [[nodiscard]] int fd() const { return inotify_ ? inotify_.get() : -1; }
    // Those that are there and were not when this was asked last, below the mount point.
    std::vector<std::string> come();

  private:
    // From the root down, so that none is missed that is made meanwhile.
    void watch(const std::string &directory);

    Fd inotify_{};
    struct Known {
        std::string directory{};
        std::optional<std::uint64_t> inode{};
    };
    std::map<std::string, Known> cgroups_{};
};

} // namespace mps::service
