// SPDX-License-Identifier: MIT
#include "traffic_wire.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <span>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::e2e {

namespace {

using Clock = std::chrono::steady_clock;

// What `ip link add` needs to make one, and on what.
std::string link_words(Kind kind, const std::string &lower) {
    switch (kind) {
    case Kind::bond:
        return "type bond mode active-backup miimon 100";
    case Kind::bridge:
        return "type bridge";
    case Kind::macvlan:
        return fmt::format("link {} type macvlan mode bridge", lower);
    case Kind::vlan:
        return fmt::format("link {} type vlan id 5", lower);
    case Kind::vrf:
        return "type vrf table 50";
    case Kind::veth:
    case Kind::tun:
    case Kind::tap:
        break;
    }
    return "type veth";
}

std::string_view name_of(Kind kind) {
    switch (kind) {
    case Kind::bond:
        return "bond";
    case Kind::bridge:
        return "bridge";
    case Kind::macvlan:
        return "macvlan";
    case Kind::vlan:
        return "VLAN";
    case Kind::vrf:
        return "VRF";
    case Kind::veth:
        return "veth";
    case Kind::tun:
    case Kind::tap:
        break;
    }
    return "tun";
}

// The device belongs to the namespace in which it is made, and lives as long as the descriptor.
lab::Result<lab::Fd> open_tun(const lab::Namespace &ns, const std::string &name, Kind kind) {
    return ns.run([&]() -> lab::Result<lab::Fd> {
        lab::Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
        if (!fd) {
            return lab::os_error("open", "/dev/net/tun", errno);
        }
        ifreq request{};
        name.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = static_cast<short>((kind == Kind::tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI);
        if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
            return lab::os_error("make device", name, errno);
        }
        return fd;
    });
}

} // namespace

std::optional<std::string> missing(Kind kind) {
    const auto ns = must(lab::Namespace::create("k"));
    const bool there = ns.ip("link add under type veth peer name other") &&
                       ns.ip(fmt::format("link add probe {}", link_words(kind, "under")));
    return there ? std::nullopt : std::optional(std::string(name_of(kind)));
}

Wire::Wire(lab::Fd a, lab::Fd b, std::chrono::microseconds delay)
    : a_(std::move(a)), b_(std::move(b)), delay_(delay), thread_([this] { run(); }) {}

Wire::~Wire() {
    stopping_ = true;
    thread_.join();
}

void Wire::run() const {
    struct Waiting {
        Clock::time_point due;
        std::vector<std::uint8_t> packet;
    };
    struct Lane {
        int from;
        int to;
        std::deque<Waiting> queue{};
    };
    std::array<Lane, 2> lanes{{{a_.get(), b_.get()}, {b_.get(), a_.get()}}};
    std::array<std::uint8_t, 65536> buffer;
    while (!stopping_) {
        auto next = Clock::now() + 20ms;
        for (auto &lane : lanes) {
            for (;;) {
                const auto size = ::read(lane.from, buffer.data(), buffer.size());
                if (size <= 0) {
                    break;
                }
                lane.queue.push_back({Clock::now() + delay_, {buffer.begin(), buffer.begin() + size}});
            }
            while (!lane.queue.empty() && lane.queue.front().due <= Clock::now()) {
                // A device that is down does not take it; so the packet is lost, as on a cable.
                const auto &packet = lane.queue.front().packet;
                std::ignore = ::write(lane.to, packet.data(), packet.size());
                lane.queue.pop_front();
            }
            if (!lane.queue.empty()) {
                next = std::min(next, lane.queue.front().due);
            }
        }
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - Clock::now()).count();
        const timespec wait{0, std::max<long>(left, 0)};
        std::array<pollfd, 2> ready{{{lanes[0].from, POLLIN, 0}, {lanes[1].from, POLLIN, 0}}};
        ::ppoll(ready.data(), ready.size(), &wait, nullptr);
    }
}

WiredNetwork::WiredNetwork(std::vector<WiredPath> paths, lab::Family family)
    : paths_(std::move(paths)),
      family_(family),
      a_(must(lab::Namespace::create("a"))),
      b_(must(lab::Namespace::create("b"))) {
    for (const auto *host : {&a_, &b_}) {
        for (const auto &[key, value] : {std::pair{"ipv4/conf/all/rp_filter", "0"},
                                         {"ipv4/conf/default/rp_filter", "0"},
                                         {"ipv4/tcp_no_metrics_save", "1"},
                                         {"ipv6/conf/default/accept_dad", "0"},
                                         {"mptcp/enabled", "1"}}) {
            must(host->set_sysctl(key, value));
        }
    }
    must(a_.set_congestion_control("cubic"));
    must(b_.set_congestion_control("cubic"));
    for (const auto &path : paths_) {
        make_device(path);
    }
    const bool v6 = family_ == lab::Family::ipv6;
    for (const auto side : {lab::Side::a, lab::Side::b}) {
        const auto &host = side == lab::Side::a ? a_ : b_;
        std::string lines = "mptcp limits set subflows 8 add_addr_accepted 8\n";
        std::string rules;
        for (std::size_t i = 0; i < paths_.size(); ++i) {
            const auto &path = paths_[i];
            const auto mine = address(side, i);
            lines += fmt::format("addr add {}/{} dev {}{}\nlink set {} up\n", mine, v6 ? 64 : 28, path.name,
                                 v6 ? " nodad" : "", path.name);
            if (side == lab::Side::a) {
                lines += fmt::format("mptcp endpoint add {} dev {} subflow\n", mine, path.name);
                // In front of the rule that leads into VRFs (1000).
                rules += fmt::format(
                    "route add default via {} dev {} table {}\nrule add from {} table {} pref 500\n",
                    address(lab::Side::b, i), path.name, 100 + i, mine, 100 + i);
            }
        }
        must(host.ip(lines));
        if (!rules.empty()) {
            must(v6 ? host.ip6(rules) : host.ip(rules));
        }
        for (const auto &path : paths_) {
            if (path.rate_mbit > 0) {
                must(host.tc(fmt::format("qdisc replace dev {} root tbf rate {}bit burst 30000 latency 50ms",
                                         path.name, static_cast<long>(path.rate_mbit * 1e6))));
            }
        }
    }
}

void WiredNetwork::make_device(const WiredPath &path) {
    const auto &name = path.name;
    const auto lower = name + "l";
    const auto veth = [&](const std::string &mine, const std::string &other) {
        must(a_.ip(fmt::format("link add {} type veth peer name {} netns {}", mine, other, b_.name())));
    };
    const auto stack = [&] {
        must(a_.ip(fmt::format("link add {} {}", name, link_words(path.kind, lower))));
    };
    switch (path.kind) {
    case Kind::tun:
    case Kind::tap:
        wires_.push_back(std::make_unique<Wire>(must(open_tun(a_, name, path.kind)),
                                                must(open_tun(b_, name, path.kind)), path.delay));
        return;
    case Kind::veth:
        veth(name, name);
        return;
    case Kind::vrf:
        veth(name, name);
        if (!a_.ip("link show vrf0"))
            must(a_.ip(fmt::format("link add vrf0 {}\nlink set vrf0 up", link_words(path.kind, ""))));
        must(a_.ip(fmt::format("link set {} master vrf0", name)));
        return;
    case Kind::vlan:
        veth(lower, lower);
        stack();
        must(b_.ip(
            fmt::format("link add {0} {1}\nlink set {2} up", name, link_words(path.kind, lower), lower)));
        break;
    case Kind::macvlan:
        veth(lower, name);
        stack();
        break;
    case Kind::bond:
    case Kind::bridge:
        veth(lower, name);
        stack();
        must(a_.ip(fmt::format("link set {} master {}", lower, name)));
        break;
    }
    must(a_.ip(fmt::format("link set {} up", lower)));
}

std::vector<std::string> WiredNetwork::devices() const {
    std::vector<std::string> names;
    for (const auto &path : paths_) {
        names.push_back(path.name);
    }
    return names;
}

std::string WiredNetwork::address(lab::Side side, std::size_t path) const {
    if (family_ == lab::Family::ipv6) {
        return fmt::format("2001:db8:1:{:x}::{}", path + 1, side == lab::Side::a ? "a" : "b");
    }
    return fmt::format("192.0.2.{}", 16 * path + (side == lab::Side::a ? 1 : 2));
}

std::optional<std::size_t> WiredNetwork::path_of(const lab::SubflowSample &subflow) const {
    for (std::size_t i = 0; i < paths_.size(); ++i) {
        if (subflow.local_address == address(lab::Side::a, i)) {
            return i;
        }
    }
    return std::nullopt;
}

lab::Server WiredNetwork::serve() const { return must(lab::Server::start(b_, {.family = family_})); }

lab::Transfer WiredNetwork::start(const lab::Server &server, lab::TransferSpec spec,
                                  std::size_t first_path) const {
    spec.address = address(lab::Side::b, first_path);
    spec.port = server.port();
    if (paths_[first_path].kind == Kind::vrf)
        spec.device = "vrf0";
    auto transfer = must(lab::Transfer::start(a_, std::move(spec)));
    REQUIRE(transfer.wait_for_subflows(paths_.size()));
    return transfer;
}

Delivered WiredNetwork::delivered(const lab::Transfer &transfer) const {
    return e2e::delivered(transfer, paths_.size(),
                          [this](const lab::SubflowSample &subflow) { return path_of(subflow); });
}

} // namespace mps::e2e
