// SPDX-License-Identifier: MIT
#include "kernel/netns.hpp"

#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/netlink.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace mps {

namespace {

constexpr std::string_view named_namespaces = "/run/netns";
constexpr const char *own_namespace = "/proc/thread-self/ns/net";

bool same_file(int a, int b) {
    struct stat one{}, other{};
    return !::fstat(a, &one) && !::fstat(b, &other) && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

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

Result<Fd> open_netns(const std::string &spec) {
    const std::string path = spec.empty() ? own_namespace : path_of(spec);
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && (errno == ENOENT || errno == ENOTDIR)) {
        const auto names = namespace_names();
        return fail(
            ErrorKind::no_such_netns, fmt::format("there is no network namespace '{}'", spec),
            names.empty()
                ? "there are no named ones: 'ip netns add NAME' makes one; a path or a process id will do too"
                : fmt::format("there are: {}", fmt::join(names, ", ")));
    }
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening network namespace {}", path)));
    // setns() would tell as well, but only where the rights for it are there.
    if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
        return fail(ErrorCode::usage, fmt::format("{} is not a network namespace", path),
                    "give a name below /run/netns, a path to a namespace file, or a process id");
    }
    return fd;
}

Result<InNetns> InNetns::enter(int netns_fd) {
    auto before = open_netns("");
    MPS_TRY(before);
    if (same_file(before->get(), netns_fd))
        return InNetns(Fd{});
    if (::setns(netns_fd, CLONE_NEWNET))
        return std::unexpected(system_error(errno, "entering the network namespace"));
    return InNetns(std::move(*before));
}

Result<InNetns> InNetns::enter(const std::string &spec) {
    if (spec.empty())
        return InNetns(Fd{});
    const auto fd = open_netns(spec);
    MPS_TRY(fd);
    return enter(fd->get());
}

InNetns::~InNetns() {
    // It fails only for who gave away CAP_SYS_ADMIN meanwhile.
    if (before_ && ::setns(before_.get(), CLONE_NEWNET))
        log_lines(fmt::format("going back to the network namespace of before: {}", errno_text(errno)));
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

std::unexpected<Error> no_such_interface(const std::string &name) {
    return fail(ErrorKind::no_such_interface, fmt::format("there is no interface '{}'", name),
                fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
}

} // namespace mps
