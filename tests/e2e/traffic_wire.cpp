// SPDX-License-Identifier: MIT
#include "traffic_wire.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <span>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::e2e {

namespace {

using Clock = std::chrono::steady_clock;

// The device belongs to the namespace in which it is made, and lives as long as the descriptor.
lab::Result<Fd> open_tun(const lab::Namespace &ns, const std::string &name, Kind kind) {
    return ns.run([&]() -> lab::Result<Fd> {
        Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
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

Wire::Wire(Fd a, Fd b, std::chrono::microseconds delay, Meddler meddler)
    : a_(std::move(a)), b_(std::move(b)), delay_(delay), meddler_(std::move(meddler)), thread_([this] {
          run();
      }) {}

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
        lab::Side side;
        int from;
        int to;
        std::deque<Waiting> queue{}; // by `due`

        void add(Passed passed, Clock::time_point due) {
            const auto at = std::upper_bound(queue.begin(), queue.end(), due,
                                             [](auto when, const Waiting &one) { return when < one.due; });
            queue.insert(at, {due, std::move(passed.packet)});
        }
    };
    std::array<Lane, 2> lanes{{{lab::Side::a, a_.get(), b_.get()}, {lab::Side::b, b_.get(), a_.get()}}};
    std::array<std::uint8_t, 65536> buffer;
    while (!stopping_) {
        auto next = Clock::now() + 20ms;
        for (auto &lane : lanes) {
            for (;;) {
                const auto size = ::read(lane.from, buffer.data(), buffer.size());
                if (size <= 0) {
                    break;
                }
                std::vector<std::uint8_t> packet(buffer.begin(), buffer.begin() + size);
                if (!meddler_) {
                    lane.add({std::move(packet)}, Clock::now() + delay_);
                    continue;
                }
                for (auto &passed : meddler_(lane.side, std::move(packet))) {
                    const auto later = passed.later;
                    lane.add(std::move(passed), Clock::now() + delay_ + later);
                }
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

std::unique_ptr<Wire> join_by_wire(const lab::Namespace &a, const lab::Namespace &b, const std::string &name,
                                   Kind kind, std::chrono::microseconds delay, Meddler meddler) {
    return std::make_unique<Wire>(must(open_tun(a, name, kind)), must(open_tun(b, name, kind)), delay,
                                  std::move(meddler));
}

WiredNetwork::WiredNetwork(std::vector<WiredPath> paths, lab::Family family)
    : paths_(std::move(paths)),
      family_(family),
      a_(must(lab::Namespace::create("a"))),
      b_(must(lab::Namespace::create("b"))),
      c_(must(lab::Namespace::create("c"))) {
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
    for (std::size_t i = 0; i < paths_.size(); ++i) {
        if (paths_[i].kind == Kind::tun || paths_[i].kind == Kind::tap) {
            wires_.push_back(
                join_by_wire(a_, b_, paths_[i].name, paths_[i].kind, paths_[i].delay, paths_[i].meddler));
        } else {
            make_device(i);
        }
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
                lines += fmt::format("mptcp endpoint add {}{} subflow\n", mine,
                                     path.bound ? " dev " + path.name : "");
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

Outside::Outside(const lab::Namespace &ns, const std::vector<std::string> &sources)
    : socket_(must(ns.run([]() -> lab::Result<Fd> {
          // SOCK_DGRAM: packets start at IP whatever the device's header is.
          Fd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL)));
          if (!fd)
              return lab::os_error("open", "a packet socket", errno);
          return fd;
      }))) {
    std::vector<sock_filter> filter{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(iphdr, saddr)),
    };
    for (const auto &source : sources) {
        in_addr address{};
        REQUIRE(::inet_pton(AF_INET, source.c_str(), &address) == 1);
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(address.s_addr), 0, 1));
        filter.push_back(BPF_STMT(BPF_RET | BPF_K, 64));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    REQUIRE(::setsockopt(socket_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
    seen(); // what came before the filter
}

std::uint32_t Outside::seen() {
    tpacket_stats stats{};
    socklen_t size = sizeof(stats);
    REQUIRE(::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0);
    return stats.tp_packets; // with those that found no room
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
