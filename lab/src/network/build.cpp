// SPDX-License-Identifier: MIT
//
// From the description of a network to one that runs.
#include <mpsched/lab/network.hpp>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>

#include "base/fd.hpp"

#include "base/try.hpp"
#include "check.hpp"
#include "names.hpp"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

constexpr int first_table = 100; // routing table of path 0 on host A

// IFF_* of a device in the calling thread's namespace; 0 if there is none.
unsigned device_flags(const std::string &device) {
    const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq ifr{};
    device.copy(ifr.ifr_name, IFNAMSIZ - 1);
    return fd && ::ioctl(fd.get(), SIOCGIFFLAGS, &ifr) == 0 ? static_cast<unsigned short>(ifr.ifr_flags) : 0U;
}

// In the calling thread's namespace: has carrier, and no address waits for duplicate detection.
bool is_running(const std::string &device) {
    if ((device_flags(device) & IFF_RUNNING) == 0) {
        return false;
    }
    constexpr unsigned tentative = 0x40; // IFA_F_TENTATIVE
    std::ifstream addresses("/proc/thread-self/net/if_inet6");
    std::string address;
    std::string index;
    std::string prefix;
    std::string scope;
    std::string flags;
    std::string name;
    while (addresses >> address >> index >> prefix >> scope >> flags >> name) {
        if (name == device && (std::strtoul(flags.c_str(), nullptr, 16) & tentative) != 0) {
            return false;
        }
    }
    return true;
}

// Before any device exists, so that devices inherit it. Duplicate address detection would hold IPv6
// addresses back for a second; kept addresses survive a link that goes down, as IPv4 ones do.
Result<void> prepare_host(Namespace &host, const std::string &congestion_control) {
    struct Setting {
        const char *key;
        const char *value;
    };
    constexpr std::array<Setting, 9> settings{{{"ipv4/conf/all/rp_filter", "0"},
                                               {"ipv4/conf/default/rp_filter", "0"},
                                               {"ipv4/tcp_no_metrics_save", "1"},
                                               {"ipv6/conf/all/accept_dad", "0"},
                                               {"ipv6/conf/default/accept_dad", "0"},
                                               {"ipv6/conf/all/keep_addr_on_down", "1"},
                                               {"ipv6/conf/default/keep_addr_on_down", "1"},
                                               {"ipv6/conf/default/accept_ra", "0"},
                                               {"mptcp/enabled", "1"}}};
    for (const auto &[key, value] : settings) {
        auto set = host.set_sysctl(key, value);
        if (!set) {
            if (set.error().err == ENOENT) {
                set.error().hint = "the kernel needs CONFIG_MPTCP and CONFIG_IPV6";
            }
            return set;
        }
    }
    return host.set_congestion_control(congestion_control);
}

/// Each path is a bridge in the middle, between a veth to either host.
Result<void> lay_paths_through(Namespace &middle, const NetworkSpec &spec, const Namespace &a,
                               const Namespace &b) {
    std::string create;
    std::string set_up;
    for (std::size_t i = 0; i < spec.paths.size(); ++i) {
        const auto &path = spec.paths[i];
        const auto to_a = middle_device(i, Side::a);
        const auto to_b = middle_device(i, Side::b);
        const auto bridge = fmt::format("br{}", i);
        create += fmt::format("link add {0} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
                              "link add name {1} type veth peer name {2} netns {3}\n"
                              "link add name {4} type veth peer name {2} netns {5}\n",
                              bridge, to_a, path.name, a.name(), to_b, b.name());
        for (const auto &device : {to_a, to_b}) {
            set_up += fmt::format("link set {0} mtu {1} master {2} up\n", device, path.mtu, bridge);
        }
        set_up += fmt::format("link set {} mtu {} up\n", bridge, path.mtu);
    }
    for (const auto *key : {"ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"}) {
        if (auto set = middle.set_sysctl(key, "1"); !set) {
            return set;
        }
    }
    return middle.ip(create + set_up);
}

/// Each path is one veth from host to host.
Result<void> lay_paths_between(const Namespace &a, const Namespace &b, const NetworkSpec &spec) {
    std::string lines;
    for (const auto &path : spec.paths) {
        lines += fmt::format("link add name {0} type veth peer name {0} netns {1}\n", path.name, b.name());
    }
    return a.ip(lines);
}

/// What `ip` reads to give a host's devices their addresses, and to switch them on.
std::string device_lines(const NetworkSpec &spec, Side side) {
    std::string lines;
    for (std::size_t i = 0; i < spec.paths.size(); ++i) {
        const auto &path = spec.paths[i];
        if (has_ipv4(spec.family)) {
            lines += fmt::format("addr add {}/28 dev {}\n", address_v4(side, i), path.name);
        }
        if (has_ipv6(spec.family)) {
            lines += fmt::format("addr add {}/64 dev {} nodad\n", address_v6(side, i), path.name);
        }
        lines += fmt::format("link set dev {} mtu {} {}up\n", path.name, path.mtu,
                             spec.single_packets ? "gso_max_segs 1 " : "");
    }
    return lines;
}

} // namespace

Network::Network(NetworkSpec spec, Namespace a, Namespace b, std::optional<Namespace> middle)
    : spec_(std::move(spec)), a_(std::move(a)), b_(std::move(b)), middle_(std::move(middle)) {}

Result<Network> Network::create(NetworkSpec spec) {
    if (auto good = check(spec); !good) {
        return std::unexpected(good.error());
    }
    auto a = Namespace::create("a");
    MPS_TRY(a);
    auto b = Namespace::create("b");
    MPS_TRY(b);
    std::optional<Namespace> middle;
    if (spec.shaping == Shaping::middle) {
        auto m = Namespace::create("m");
        MPS_TRY(m);
        middle = std::move(*m);
    }
    Network network(std::move(spec), std::move(*a), std::move(*b), std::move(middle));
    if (auto built = network.build(); !built) {
        return std::unexpected(built.error());
    }
    return network;
}

// The kernel notices a new carrier with up to a second of delay; before that packets are dropped, and IPv6
// has no usable address. Nothing to wait for while either end is switched off.
Result<void> Network::wait_until_running(std::size_t path) const {
    const auto &device = spec_.paths[path].name;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    for (const auto side : {Side::a, Side::b}) {
        const auto up = host(side).run([&] { return (device_flags(device) & IFF_UP) != 0; });
        if (!up || !*up) {
            return up ? Result<void>{} : std::unexpected(up.error());
        }
    }
    for (const auto side : {Side::a, Side::b}) {
        auto running = host(side).run([&]() -> Result<void> {
            while (!is_running(device)) {
                if (std::chrono::steady_clock::now() > deadline) {
                    return fail(fmt::format("path {} does not come up", device), "", ETIMEDOUT);
                }
                std::this_thread::sleep_for(std::chrono::milliseconds(2));
            }
            return {};
        });
        if (!running) {
            return running;
        }
    }
    return {};
}

// Host A chooses the path by source address; host B need not, since each of A's addresses is on one path. The
// kernel drops the routes, but not the rules, when the device goes down.
Result<void> Network::route_by_source(std::size_t path, bool with_rules) const {
    const auto table = first_table + path;
    for (const bool v6 : {false, true}) {
        if (!(v6 ? has_ipv6(spec_.family) : has_ipv4(spec_.family))) {
            continue;
        }
        const auto from = v6 ? address_v6(Side::a, path) : address_v4(Side::a, path);
        const auto via = v6 ? address_v6(Side::b, path) : address_v4(Side::b, path);
        auto lines =
            fmt::format("route replace default via {} dev {} table {}\n", via, spec_.paths[path].name, table);
        if (with_rules) {
            lines += fmt::format("rule add from {} table {}\n", from, table);
        }
        if (auto done = v6 ? a_.ip6(lines) : a_.ip(lines); !done) {
            return done;
        }
    }
    return {};
}

std::string Network::endpoints(Side side) const {
    std::string lines =
        fmt::format("mptcp limits set subflows {0} add_addr_accepted {0}\n", spec_.subflow_limit);
    const auto joiner = spec_.joins == Joins::client_subflow ? Side::a : Side::b;
    if (spec_.joins == Joins::none || (side != joiner && spec_.joins == Joins::client_subflow)) {
        return lines;
    }
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        const auto &path = spec_.paths[i];
        std::string flags;
        if (side == joiner) {
            flags = joiner == Side::a ? " subflow" : " signal";
            // The client's own connection already uses this address of the server; announcing it would only
            // cost a slot.
            if (joiner == Side::b && i == spec_.first_path) {
                continue;
            }
        } else if (!path.backup) {
            continue;
        }
        if (path.backup) {
            flags += " backup";
        }
        for (const bool v6 : {false, true}) {
            if (v6 ? has_ipv6(spec_.family) : has_ipv4(spec_.family)) {
                lines += fmt::format("mptcp endpoint add {} dev {}{}\n",
                                     v6 ? address_v6(side, i) : address_v4(side, i), path.name, flags);
            }
        }
    }
    return lines;
}

Result<void> Network::build() {
    for (auto *host : {&a_, &b_}) {
        if (auto prepared = prepare_host(*host, spec_.congestion_control); !prepared) {
            return prepared;
        }
    }
    if (auto laid = middle_ ? lay_paths_through(*middle_, spec_, a_, b_) : lay_paths_between(a_, b_, spec_);
        !laid) {
        return laid;
    }
    for (const auto side : {Side::a, Side::b}) {
        if (auto done = host(side).ip(device_lines(spec_, side) + endpoints(side)); !done) {
            return done;
        }
    }
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        if (auto done = wait_until_running(i); !done) {
            return done;
        }
        if (auto done = route_by_source(i, true); !done) {
            return done;
        }
    }
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        const auto &path = spec_.paths[i];
        for (const auto &[side, rate] : {std::pair{Side::a, path.rate_mbit},
                                         std::pair{Side::b, path.down_rate_mbit.value_or(path.rate_mbit)}}) {
            if (auto shaped = shape(i, side, rate); !shaped) {
                return shaped;
            }
        }
    }
    return set_offloads(spec_.offloads);
}

} // namespace mps::lab
