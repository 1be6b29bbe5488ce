// SPDX-License-Identifier: MIT
#include "mpsched/netns.hpp"

#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/fd.hpp"
#include "kernel/netlink.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace mps {

namespace {

constexpr std::string_view named_namespaces = "/run/netns";

std::vector<std::string> namespace_names() {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(named_namespaces, error)) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::string path_of(const std::string &spec) {
    if (spec.find('/') != std::string::npos)
        return spec;
    const std::string named = fmt::format("{}/{}", named_namespaces, spec);
    std::error_code error;
    // A namespace named "12" wins over process 12, as a name is what the user most likely means.
    const bool number = spec.find_first_not_of("0123456789") == std::string::npos;
    if (number && !std::filesystem::exists(named, error))
        return fmt::format("/proc/{}/ns/net", spec);
    return named;
}

} // namespace

Result<void> enter_netns(const std::string &spec) {
    if (spec.empty())
        return fail(ErrorCode::usage, "the name of the network namespace is empty");
    const std::string path = path_of(spec);
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) {
        const auto names = namespace_names();
        return fail(
            ErrorCode::usage, fmt::format("there is no network namespace '{}'", spec),
            names.empty()
                ? "there are no named ones: 'ip netns add NAME' makes one; a path or a process id will do too"
                : fmt::format("there are: {}", fmt::join(names, ", ")));
    }
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening network namespace {}", path)));
    if (::setns(fd.get(), CLONE_NEWNET)) {
        if (errno == EINVAL) {
            return fail(ErrorCode::usage, fmt::format("{} is not a network namespace", path),
                        "give a name below /run/netns, a path to a namespace file, or a process id");
        }
        return std::unexpected(system_error(errno, fmt::format("entering network namespace '{}'", spec)));
    }
    return {};
}

Result<std::uint64_t> netns_cookie() {
    const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (!socket || ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length)) {
        if (errno == ENOPROTOOPT) {
            return fail(ErrorCode::unsupported,
                        "this kernel cannot identify network namespaces (SO_NETNS_COOKIE)",
                        "Linux 5.14 or later is needed");
        }
        return std::unexpected(system_error(errno, "identifying the network namespace"));
    }
    return cookie;
}

std::vector<std::string> interface_names() {
    std::vector<std::string> names;
    if (const auto devices = net_devices()) {
        for (const NetDevice &device : *devices)
            names.push_back(device.name);
    }
    return names;
}

} // namespace mps
