// SPDX-License-Identifier: MIT
//
// Cgroups whose applications may choose for their own connections, by the socket options of mps/socket_options.h: what `mpsched app`
// sets. docs/application-interface.md tells what they can.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

struct ApplicationGrant {
    std::string cgroup{};                    // its path below the mount point of cgroup v2
    std::vector<std::string> policies{};     // that may be chosen, as they were named
    std::optional<std::uint32_t> max_cost{}; // of interfaces; nullopt: any
    std::string problem{};                   // "" or why nothing can be chosen there now

    friend bool operator==(const ApplicationGrant &, const ApplicationGrant &) = default;
};

struct ApplicationResult {
    ApplicationGrant grant{};
    bool changed = true; // false: it was so before
    std::vector<std::string> warnings{};
};

// A cgroup's path as grants have it; fails where there is no such cgroup.
[[nodiscard]] MPS_API Result<std::string> canonical_cgroup(const std::string &path);

struct CgroupPlace {
    std::string path{};      // below the mount point of cgroup v2, as grants have it
    std::string directory{}; // whole
};
// Where it is, or would be if there were such a cgroup; fails where cgroup v2 is not mounted.
[[nodiscard]] MPS_API Result<CgroupPlace> cgroup_place(const std::string &path);

// In the order in which they were made. None where nothing is installed.
[[nodiscard]] MPS_API Result<std::vector<ApplicationGrant>> application_grants(const Instance &instance);

// Applications of the cgroup and of those below it may choose from now on; what it said of this cgroup before is replaced, and choices of
// policies that stay count on. Loads what is not loaded. Needs an installation, cgroup v2 and the cgroup.
[[nodiscard]] MPS_API Result<ApplicationResult> grant_applications(const Instance &instance,
                                                                   const ApplicationGrant &grant);

// Choices count no more, for connections that live as well. These cgroups (one that was not granted anything is an error), or with none
// all of them. Tells which.
[[nodiscard]] MPS_API Result<std::vector<std::string>>
revoke_applications(const Instance &instance, const std::vector<std::string> &cgroups);

} // namespace mps
