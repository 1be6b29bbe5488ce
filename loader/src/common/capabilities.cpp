// SPDX-License-Identifier: MIT
#include "common/capabilities.hpp"

#include <linux/capability.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

namespace mps {

namespace {

constexpr std::array<Capability, 4> needed{{
    {CAP_BPF, "CAP_BPF", "load BPF programs"},
    {CAP_PERFMON, "CAP_PERFMON", "read kernel structures from BPF programs"},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach programs to interfaces"},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN",
     "open programs by id, mount the bpf file system, enter network namespaces"},
}};

} // namespace

std::vector<Capability> missing_capabilities() {
    std::ifstream status("/proc/thread-self/status");
    std::uint64_t effective = 0;
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("CapEff:"))
            effective = std::stoull(line.substr(7), nullptr, 16);
    }
    std::vector<Capability> missing;
    for (const Capability &capability : needed) {
        if (!(effective >> capability.number & 1))
            missing.push_back(capability);
    }
    return missing;
}

bool in_user_namespace() {
    // PROC_USER_INIT_INO (include/linux/proc_ns.h): the initial one has had this number since there are any.
    std::error_code error;
    const std::string own = std::filesystem::read_symlink("/proc/self/ns/user", error).string();
    return !own.empty() && own != "user:[4026531837]";
}

std::string missing_capabilities_hint() {
    if (in_user_namespace()) {
        return "this is a user namespace (a rootless container, 'unshare -U'): BPF needs the capabilities of the "
               "initial one, so run mpsched outside and name the network namespace with --netns";
    }
    const auto missing = missing_capabilities();
    if (missing.empty()) {
        return "no capability is missing, so something else refuses: a security module, a container, or kernel lockdown";
    }
    std::string names;
    for (const Capability &capability : missing) {
        if (!names.empty())
            names += ", ";
        names += capability.name;
    }
    return fmt::format("this process lacks {}: run as root", names);
}

} // namespace mps
