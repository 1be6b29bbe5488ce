// SPDX-License-Identifier: MIT
#include <mpsched/lab/network.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>
#include <utility>

#include <mpsched/lab/fd.hpp>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mps::lab {
namespace {

constexpr std::size_t max_endpoints = 8; // MPTCP_PM_ADDR_MAX, net/mptcp/protocol.h
constexpr std::size_t max_paths = max_endpoints + 1;
constexpr int first_table = 100; // routing table of path 0 on host A

bool has_ipv4(Family family) { return family != Family::ipv6; }
bool has_ipv6(Family family) { return family != Family::ipv4; }

std::string address_v4(Side side, std::size_t path) {
    return fmt::format("198.51.100.{}", 16 * path + (side == Side::a ? 1 : 2));
}
// As the kernel writes it, so that addresses compare as strings: 2001:db8:0:0::a is 2001:db8::a.
std::string address_v6(Side side, std::size_t path) {
    const auto *host = side == Side::a ? "a" : "b";
    return path == 0 ? fmt::format("2001:db8::{}", host) : fmt::format("2001:db8:0:{:x}::{}", path, host);
}

Side other(Side side) { return side == Side::a ? Side::b : Side::a; }

// Devices of the middle namespace: toward host A and toward host B.
std::string middle_device(std::size_t path, Side toward) {
    return fmt::format("m{}{}", path, toward == Side::a ? "a" : "b");
}

// Of the host that has most; see Network::endpoints().
std::size_t endpoint_count(const NetworkSpec &spec) {
    const std::size_t families = spec.family == Family::dual ? 2 : 1;
    if (spec.joins == Joins::none) {
        return 0;
    }
    return families * (spec.paths.size() - (spec.joins == Joins::server_signal ? 1 : 0));
}

Result<void> check(const NetworkSpec &spec) {
    if (spec.paths.empty() || spec.paths.size() > max_paths) {
        return fail(fmt::format("{} paths are not possible", spec.paths.size()),
                    fmt::format("1 to {}", max_paths), EINVAL);
    }
    if (spec.first_path >= spec.paths.size()) {
        return fail(fmt::format("first_path {} does not exist", spec.first_path),
                    fmt::format("0 to {}", spec.paths.size() - 1), EINVAL);
    }
    if (endpoint_count(spec) > max_endpoints) {
        return fail(
            fmt::format("the endpoints of {}{} paths are more than the kernel's {}", spec.paths.size(),
                        spec.family == Family::dual ? " dual" : "", max_endpoints),
            "fewer paths, one family, Joins::server_signal, which needs none for the first path, or Joins::none",
            EINVAL);
    }
    std::set<std::string> names;
    for (const auto &path : spec.paths) {
        if (path.name.empty() || path.name.size() >= IFNAMSIZ || path.name == "lo" ||
            path.name.find_first_of("/ \t\n") != std::string::npos || !names.insert(path.name).second) {
            return fail(fmt::format("\"{}\" cannot be the name of a path", path.name),
                        "1 to 15 characters, each name once, not \"lo\"", EINVAL);
        }
        if (path.mtu < 1280 || path.mtu > 65535) {
            return fail(fmt::format("path {}: an MTU of {} is not possible", path.name, path.mtu),
                        "1280 to 65535", EINVAL);
        }
        if (path.rate_mbit < 0 || path.down_rate_mbit.value_or(0) < 0 || path.queue.count() < 1) {
            return fail(fmt::format("path {}: rate or queue out of range", path.name),
                        "rates from 0 Mbit/s, queue from 1 ms", EINVAL);
        }
        if (path.netem && (path.rate_mbit <= 0 || path.down_rate_mbit.value_or(1) <= 0)) {
            return fail(fmt::format("path {}: netem needs a rate in both directions", path.name), "", EINVAL);
        }
    }
    return {};
}

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

Result<bool> ethtool_flag(int fd, const std::string &device, std::uint32_t command, std::uint32_t value = 0) {
    ethtool_value request{command, value};
    ifreq ifr{};
    device.copy(ifr.ifr_name, IFNAMSIZ - 1);
    ifr.ifr_data = reinterpret_cast<char *>(&request);
    if (::ioctl(fd, SIOCETHTOOL, &ifr) != 0) {
        return os_error("switch an offload of", device, errno);
    }
    return request.data != 0;
}

} // namespace

Result<void> set_device_offloads(const Namespace &ns, const std::string &device, const Offloads &offloads) {
    struct Switch {
        const char *name;
        const std::optional<bool> &wanted;
        std::uint32_t get;
        std::uint32_t set;
    };
    // In this order, since TSO needs checksums and GSO.
    const std::array<Switch, 4> switches{
        {{"tx-checksum", offloads.tx_checksum, ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM},
         {"gso", offloads.gso, ETHTOOL_GGSO, ETHTOOL_SGSO},
         {"tso", offloads.tso, ETHTOOL_GTSO, ETHTOOL_STSO},
         {"gro", offloads.gro, ETHTOOL_GGRO, ETHTOOL_SGRO}}};
    return ns.run([&]() -> Result<void> {
        const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd) {
            return os_error("open", "a socket", errno);
        }
        for (const auto &[name, wanted, get, set] : switches) {
            if (!wanted) {
                continue;
            }
            if (auto done = ethtool_flag(fd.get(), device, set, *wanted ? 1 : 0); !done) {
                return std::unexpected(done.error());
            }
            const auto now = ethtool_flag(fd.get(), device, get);
            if (!now) {
                return std::unexpected(now.error());
            }
            if (*now != *wanted) {
                return fail(fmt::format("{} of {} stays {}", name, device, *now ? "on" : "off"),
                            "another offload may need it, or it may need another");
            }
        }
        return {};
    });
}

Network::Network(NetworkSpec spec, Namespace a, Namespace b, std::optional<Namespace> middle)
    : spec_(std::move(spec)), a_(std::move(a)), b_(std::move(b)), middle_(std::move(middle)) {}

Result<Network> Network::create(NetworkSpec spec) {
    if (auto good = check(spec); !good) {
        return std::unexpected(good.error());
    }
    auto a = Namespace::create("a");
    if (!a) {
        return std::unexpected(a.error());
    }
    auto b = Namespace::create("b");
    if (!b) {
        return std::unexpected(b.error());
    }
    std::optional<Namespace> middle;
    if (spec.shaping == Shaping::middle) {
        auto m = Namespace::create("m");
        if (!m) {
            return std::unexpected(m.error());
        }
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
    // Before any device exists, so that devices inherit it. Duplicate address detection would hold IPv6
    // addresses back for a second; kept addresses survive a link that goes down, as IPv4 ones do.
    struct Setting {
        const char *key;
        const char *value;
    };
    constexpr std::array<Setting, 9> host_settings{{{"ipv4/conf/all/rp_filter", "0"},
                                                    {"ipv4/conf/default/rp_filter", "0"},
                                                    {"ipv4/tcp_no_metrics_save", "1"},
                                                    {"ipv6/conf/all/accept_dad", "0"},
                                                    {"ipv6/conf/default/accept_dad", "0"},
                                                    {"ipv6/conf/all/keep_addr_on_down", "1"},
                                                    {"ipv6/conf/default/keep_addr_on_down", "1"},
                                                    {"ipv6/conf/default/accept_ra", "0"},
                                                    {"mptcp/enabled", "1"}}};
    for (auto *host : {&a_, &b_}) {
        Result<void> set;
        for (const auto &[key, value] : host_settings) {
            if (set) {
                set = host->set_sysctl(key, value);
            }
        }
        if (!set) {
            if (set.error().err == ENOENT) {
                set.error().hint = "the kernel needs CONFIG_MPTCP and CONFIG_IPV6";
            }
            return set;
        }
        if (auto chosen = host->set_congestion_control(spec_.congestion_control); !chosen) {
            return chosen;
        }
    }

    std::string a_lines;
    std::string b_lines;
    std::string middle_lines;
    std::string create_middle;
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        const auto &path = spec_.paths[i];
        if (middle_) {
            const auto to_a = middle_device(i, Side::a);
            const auto to_b = middle_device(i, Side::b);
            const auto bridge = fmt::format("br{}", i);
            create_middle +=
                fmt::format("link add {0} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
                            "link add name {1} type veth peer name {2} netns {3}\n"
                            "link add name {4} type veth peer name {2} netns {5}\n",
                            bridge, to_a, path.name, a_.name(), to_b, b_.name());
            for (const auto &device : {to_a, to_b}) {
                middle_lines += fmt::format("link set {0} mtu {1} master {2} up\n", device, path.mtu, bridge);
            }
            middle_lines += fmt::format("link set {} mtu {} up\n", bridge, path.mtu);
        } else {
            a_lines +=
                fmt::format("link add name {0} type veth peer name {0} netns {1}\n", path.name, b_.name());
        }
    }
    if (middle_) {
        for (const auto *key : {"ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"}) {
            if (auto set = middle_->set_sysctl(key, "1"); !set) {
                return set;
            }
        }
        if (auto created = middle_->ip(create_middle + middle_lines); !created) {
            return created;
        }
    }
    for (const auto side : {Side::a, Side::b}) {
        auto &lines = side == Side::a ? a_lines : b_lines;
        for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
            const auto &path = spec_.paths[i];
            if (has_ipv4(spec_.family)) {
                lines += fmt::format("addr add {}/28 dev {}\n", address_v4(side, i), path.name);
            }
            if (has_ipv6(spec_.family)) {
                lines += fmt::format("addr add {}/64 dev {} nodad\n", address_v6(side, i), path.name);
            }
            lines += fmt::format("link set dev {} mtu {} {}up\n", path.name, path.mtu,
                                 spec_.single_packets ? "gso_max_segs 1 " : "");
        }
        lines += endpoints(side);
        if (auto done = host(side).ip(lines); !done) {
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

Result<void> Network::shape(std::size_t path, Side from, double mbit) {
    const auto &p = spec_.paths[path];
    const auto &ns = middle_ ? *middle_ : host(from);
    const auto device = middle_ ? middle_device(path, other(from)) : p.name;
    if (mbit <= 0) {
        // veth's own choice; "replace" because there may be nothing to delete.
        return ns.tc(fmt::format("qdisc replace dev {} root noqueue", device));
    }
    if (p.netem) {
        // Fractions in full: tc reads them, and its own units are finer than any of ours. Replacing netem by
        // netem changes the running one, and what waits in it stays.
        return ns.tc(fmt::format(
            "qdisc replace dev {} root netem limit {} delay {:.3f}ms {:.3f}ms loss {:.6f}% rate {}bit",
            device, p.netem->limit_packets, p.netem->delay_ms, p.netem->jitter_ms, 100 * p.netem->loss,
            static_cast<std::uint64_t>(mbit * 1e6)));
    }
    // 4 ms worth of bytes hide timer jitter; a burst below one packet would block that packet for ever.
    const double bits = mbit * 1e6;
    const auto burst = std::max({static_cast<std::uint64_t>(bits / 8 * 0.004), std::uint64_t{10} * 1514,
                                 std::uint64_t{2} * (p.mtu + 14)});
    return ns.tc(fmt::format("qdisc replace dev {} root tbf rate {}bit burst {} latency {}ms", device,
                             static_cast<std::uint64_t>(bits), burst, p.queue.count()));
}

std::vector<std::string> Network::devices() const {
    std::vector<std::string> names;
    names.reserve(spec_.paths.size());
    for (const auto &path : spec_.paths) {
        names.push_back(path.name);
    }
    return names;
}

std::string Network::address(Side side, std::size_t path, std::optional<Family> family) const {
    const auto wanted = family.value_or(spec_.family);
    return has_ipv4(wanted) ? address_v4(side, path) : address_v6(side, path);
}

std::string Network::server_address(std::optional<Family> family) const {
    return address(Side::b, spec_.first_path, family);
}

std::optional<std::size_t> Network::path_of(std::string_view address) const {
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        for (const auto side : {Side::a, Side::b}) {
            if (address == address_v4(side, i) || address == address_v6(side, i)) {
                return i;
            }
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> Network::path_index(std::string_view name) const {
    const auto found = std::ranges::find(spec_.paths, name, &PathSpec::name);
    return found == spec_.paths.end() ? std::nullopt
                                      : std::optional(static_cast<std::size_t>(found - spec_.paths.begin()));
}

Result<void> Network::set_link(std::size_t path, bool up, Side side) {
    const auto &device = spec_.paths.at(path).name;
    if (auto done = host(side).ip(fmt::format("link set dev {} {}", device, up ? "up" : "down")); !done) {
        return done;
    }
    if (!up) {
        return {};
    }
    if (auto done = wait_until_running(path); !done) {
        return done;
    }
    return side == Side::a ? route_by_source(path, false) : Result<void>{};
}

Result<void> Network::set_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem) {
    auto &p = spec_.paths.at(path);
    if (!p.netem || mbit <= 0 || down_mbit <= 0) {
        return fail(fmt::format("path {} has no netem, or the new rate is 0", p.name), "", EINVAL);
    }
    p.rate_mbit = mbit;
    p.down_rate_mbit = down_mbit;
    p.netem = netem;
    auto done = shape(path, Side::a, mbit);
    return done ? shape(path, Side::b, down_mbit) : done;
}

Result<void> Network::check_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem) const {
    for (const auto &[side, rate] : {std::pair{Side::a, mbit}, std::pair{Side::b, down_mbit}}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : spec_.paths.at(path).name;
        auto shown = ns.spawn_checked({"tc", "-j", "qdisc", "show", "dev", device, "root"});
        if (!shown) {
            return std::unexpected(shown.error());
        }
        const auto json = nlohmann::json::parse(shown->out, nullptr, false);
        const auto value = [&](const char *pointer) {
            const nlohmann::json::json_pointer where(pointer);
            const bool there = json.is_array() && json.contains(where) && json.at(where).is_number();
            return there ? json.at(where).get<double>() : 0.0;
        };
        // tc knows bytes/s and seconds; loss is a part of 1.
        struct Value {
            const char *name;
            double is;
            double should_be;
            double tolerance;
        };
        constexpr double bytes_per_mbit = 125'000;
        for (const auto &[name, is, should_be, tolerance] :
             {Value{"rate in Mbit/s", value("/0/options/rate/rate") / bytes_per_mbit, rate, 1e-3 * rate},
              Value{"delay in ms", value("/0/options/delay/delay") * 1e3, netem.delay_ms, 0.01},
              Value{"loss", value("/0/options/loss-random/loss"), netem.loss, 1e-3}}) {
            if (std::abs(is - should_be) > tolerance) {
                return fail(fmt::format("path {}: the {} is {:.4g} instead of {:.4g}", spec_.paths[path].name,
                                        name, is, should_be));
            }
        }
    }
    return {};
}

Result<std::uint64_t> Network::dropped(std::size_t path) const {
    std::uint64_t sum = 0;
    for (const auto side : {Side::a, Side::b}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : spec_.paths.at(path).name;
        auto shown = ns.spawn_checked({"tc", "-s", "qdisc", "show", "dev", device, "root"});
        if (!shown) {
            return std::unexpected(shown.error());
        }
        constexpr std::string_view label = "(dropped ";
        const auto found = shown->out.find(label);
        if (found == std::string::npos) {
            return fail(fmt::format("tc shows no drops of {}: {}", device, shown->out));
        }
        sum += std::strtoull(shown->out.c_str() + found + label.size(), nullptr, 10);
    }
    return sum;
}

Result<bool> netem_available() {
    auto ns = Namespace::create("probe");
    if (!ns) {
        return std::unexpected(ns.error());
    }
    auto tried = ns->spawn({"tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"});
    return tried ? Result<bool>(tried->ok()) : Result<bool>(std::unexpected(tried.error()));
}

Result<void> Network::set_blackhole(std::size_t path, bool on) {
    auto &p = spec_.paths.at(path);
    for (const auto side : {Side::a, Side::b}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : p.name;
        const auto rate = side == Side::a ? p.rate_mbit : p.down_rate_mbit.value_or(p.rate_mbit);
        if (p.netem) {
            // The one that is running drops from now on; what has entered it still arrives, as on a real path.
            const double loss = std::exchange(p.netem->loss, on ? 1 : p.netem->loss);
            auto done = shape(path, side, rate);
            p.netem->loss = loss;
            if (!done) {
                return done;
            }
            continue;
        }
        auto done =
            on ? ns.tc(fmt::format("qdisc replace dev {} root blackhole", device)) : shape(path, side, rate);
        if (!done) {
            return done;
        }
    }
    return {};
}

Result<void> Network::set_rate(std::size_t path, double mbit, Side from) {
    auto &p = spec_.paths.at(path);
    auto done = shape(path, from, mbit);
    if (!done) {
        return done;
    }
    if (from == Side::a) {
        p.down_rate_mbit = p.down_rate_mbit.value_or(p.rate_mbit);
        p.rate_mbit = mbit;
    } else {
        p.down_rate_mbit = mbit;
    }
    return {};
}

Result<void> Network::set_offloads(const Offloads &offloads) {
    for (const auto *ns : {&a_, &b_}) {
        for (const auto &path : spec_.paths) {
            if (auto done = set_device_offloads(*ns, path.name, offloads); !done) {
                return done;
            }
        }
    }
    return {};
}

} // namespace mps::lab
