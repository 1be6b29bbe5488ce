// SPDX-License-Identifier: MIT
#include "cgroup.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::e2e {

namespace {

std::string root() {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream columns(line);
        std::string device, place, type;
        columns >> device >> place >> type;
        if (type == "cgroup2") {
            return place;
        }
    }
    return {};
}

bool move_to(const std::string &group) {
    std::ofstream members(group + "/cgroup.procs");
    members << ::getpid() << std::flush;
    return members.good();
}

} // namespace

Cgroup::Cgroup(std::string_view ending) {
    if (root().empty()) {
        // Only ours, and only for as long as this lasts.
        if (::mount("none", mounted_.path().c_str(), "cgroup2", 0, nullptr) != 0) {
            FAIL("cannot mount cgroup v2: " << std::strerror(errno));
        }
    }
    std::ifstream own("/proc/self/cgroup");
    for (std::string line; std::getline(own, line);) {
        if (line.starts_with("0::")) {
            home_ = root() + line.substr(3);
        }
    }
    path_ = fmt::format("{}/mpsched-e2e-{}{}", root(), ::getpid(), ending);
    if (::mkdir(path_.c_str(), 0755) != 0) {
        FAIL("cannot make " << path_);
    }
}

Cgroup::~Cgroup() {
    std::ignore = move_to(home_);
    ::rmdir(path_.c_str());
    ::umount2(mounted_.path().c_str(), MNT_DETACH);
}

bool Cgroup::enter() const { return move_to(path_); }
bool Cgroup::leave() const { return move_to(home_); }

void Cgroup::make_anew() const {
    REQUIRE(::rmdir(path_.c_str()) == 0);
    REQUIRE(::mkdir(path_.c_str(), 0755) == 0);
}

} // namespace mps::e2e
