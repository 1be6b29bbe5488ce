// SPDX-License-Identifier: MIT
//
// What devices do in place of the kernel, sum up and cut into segments, goes on with the data path on them. What a device can is read as
// ethtool shows it, what was done from the packets as the kernel describes them to a packet socket (PACKET_VNET_HDR). The same for veths
// and, in a VM (vmtest --cables 2), for virtio network cards with a host that takes on all of it.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "traffic.hpp"
#include "traffic_wire.hpp"

using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr unsigned mtu = 1500, link_header = 14;
// Of IPv4 and TCP without options: no segment has more contents.
constexpr unsigned longest_segment = mtu - 20 - 20;

using Features = std::map<std::string, bool>;

// Those that matter here, by the names of ethtool -k.
Features features_of(const Namespace &ns, const std::string &device) {
    const std::set<std::string> wanted{"rx-checksumming",
                                       "tx-checksumming",
                                       "scatter-gather",
                                       "tcp-segmentation-offload",
                                       "generic-segmentation-offload",
                                       "generic-receive-offload",
                                       "large-receive-offload",
                                       "rx-gro-hw"};
    Features found;
    std::istringstream lines(must(ns.spawn_checked({"ethtool", "-k", device})).out);
    for (std::string line; std::getline(lines, line);)
        if (const auto colon = line.find(": "); colon != std::string::npos)
            if (const std::string name = line.substr(0, colon); wanted.contains(name))
                found[name] = line.substr(colon + 2).starts_with("on");
    return found;
}

std::set<std::string> changed(const Features &before, const Features &after) {
    std::set<std::string> names;
    for (const auto &[name, is_on] : after)
        if (before.at(name) != is_on)
            names.insert(name + (is_on ? " on" : " off"));
    return names;
}

void switch_offloads(const Namespace &ns, const std::string &device, bool on, bool with_hardware_gro) {
    const std::string to = on ? "on" : "off";
    std::vector<std::string> words{"ethtool", "-K", device};
    for (const char *name : {"tx", "gso", "tso", "gro"})
        words.insert(words.end(), {name, to});
    if (with_hardware_gro)
        words.insert(words.end(), {"rx-gro-hw", to});
    must(ns.spawn_checked(words));
}

// struct virtio_net_hdr; linux/virtio_net.h is not for C++.
struct VnetHeader {
    std::uint8_t flags, gso_type; // 0: one segment
    std::uint16_t header_length, gso_size, checksum_start, checksum_offset;
};
static_assert(sizeof(VnetHeader) == 10);

// TCP packets with contents, as they pass between a device and its host's stack.
struct Packets {
    std::uint64_t
        all = 0,
        merged = 0; ///< merged: of several segments, which the device cuts, or it or GRO has put together
    std::size_t longest = 0; ///< IP packet, octets
    unsigned segment = 0;    ///< most contents of one of its segments
};

class Watch {
  public:
    explicit Watch(const Namespace &ns) : socket_(must(ns.run(open))), reader_([this] { read(); }) {}
    Watch(const Watch &) = delete;
    Watch &operator=(const Watch &) = delete;
    ~Watch() { end(); }
    Packets out, in; ///< to be looked at after the end

    void end() {
        stopping_ = true;
        if (reader_.joinable())
            reader_.join();
    }

  private:
    // On all devices.
    static Result<Fd> open() {
        Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        const int on = 1, room = 32 << 20;
        sockaddr_ll where{};
        where.sll_family = AF_PACKET;
        where.sll_protocol = htons(ETH_P_ALL);
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (!socket || ::setsockopt(socket.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0 ||
            ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&where), sizeof where) != 0)
            return os_error("open", "a packet socket", errno);
        return socket;
    }

    void read() {
        struct {
            VnetHeader about;
            std::array<std::uint8_t, link_header> link;
            std::array<std::uint8_t, 120> ip;
        } __attribute__((packed)) seen;
        for (;;) {
            pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&ready, 1, 20) != 1) {
                if (stopping_)
                    return;
                continue;
            }
            sockaddr_ll from{};
            socklen_t size = sizeof from;
            const auto length = ::recvfrom(socket_.get(), &seen, sizeof seen, MSG_TRUNC | MSG_DONTWAIT,
                                           reinterpret_cast<sockaddr *>(&from), &size);
            constexpr std::size_t before_ip = sizeof seen.about + link_header;
            if (length <= static_cast<ssize_t>(before_ip + 40) || (seen.ip[0] >> 4) != 4 ||
                seen.ip[9] != IPPROTO_TCP)
                continue;
            const std::size_t octets = static_cast<std::size_t>(length) - before_ip,
                              headers = (seen.ip[0] & 15U) * 4U +
                                        (seen.ip[(seen.ip[0] & 15U) * 4U + 12] >> 4U) * 4U;
            if (octets <= headers)
                continue;
            Packets &way = from.sll_pkttype == PACKET_OUTGOING ? out : in;
            const unsigned segment = seen.about.gso_type == 0 ? 0 : seen.about.gso_size;
            way.all++;
            way.merged += segment > 0;
            way.longest = std::max(way.longest, octets);
            way.segment = std::max(way.segment, segment);
        }
    }

    Fd socket_;
    std::atomic<bool> stopping_{false};
    std::thread reader_; // last: it uses the others
};

// What a mode does to a kind of device.
struct Expected {
    const char *mode;
    std::set<std::string> here{}, there{}; ///< "NAME off": at the device, and at its peer
    bool large_from_device;                ///< it still hands over packets of many segments
    bool gro = true;                       ///< the kernel still puts together what comes in segments
    std::set<std::string> after{};         ///< what has changed at the device when the data path is gone
};

struct Run {
    Kind kind;
    std::uint64_t bytes;
    WiredNetwork network{{{.name = "x0", .kind = kind}, {.name = "x1", .kind = kind}}};
    Server server = network.serve();
    Cli mpsched{network.a()};

    const Namespace &host(Side side) const { return side == Side::a ? network.a() : network.b(); }
    Features features(Side side) const { return features_of(host(side), "x0"); }
    void switch_all(bool on, bool with_hardware_gro) const {
        for (const Side side : {Side::a, Side::b})
            for (const std::string &device : network.devices())
                switch_offloads(host(side), device, on, with_hardware_gro && kind == Kind::virtio);
    }

    // Contents arrive whole, large packets pass where they are to, and none where they are not. Generic XDP ends GRO (netif_elide_gro(),
    // net/core/gro.c).
    void carry(const Expected &expected, Direction direction, bool on) const {
        const bool down = direction == Direction::download;
        const Health health(network.a(), network.b());
        const auto prios = mp_prio_received(down ? network.b() : network.a());
        const Counters before = must(read_counters(network.a()));
        Watch watch(network.a());
        check_clean(network.start(server, {.direction = direction, .bytes = bytes}).wait());
        watch.end();
        const Counters moved = must(read_counters(network.a())) - before;
        health.check();
        // The data path was at work.
        CHECK(mp_prio_received(down ? network.b() : network.a()) > prios);
        const Packets &seen = down ? watch.in : watch.out;
        double octets = 0, packets = 0;
        for (const std::string &device : network.devices()) {
            const DeviceCounters &one = moved.devices.at(device);
            octets += static_cast<double>(down ? one.rx_bytes : one.tx_bytes);
            packets += static_cast<double>(down ? one.rx_packets : one.tx_packets);
        }
        const double by_device = octets / packets;
        const std::string line = fmt::format(
            "{} {} offloads {} {}: {} packets with contents, {} of several segments, longest {}, segments to {}; "
            "the devices count {:.0f} octets a packet",
            name_of(kind), expected.mode, on ? "on" : "off", down ? "in" : "out", seen.all, seen.merged,
            seen.longest, seen.segment, by_device);
        report(line);
        INFO(line);
        CHECK(seen.all > 0);
        CHECK(seen.segment <= longest_segment);
        if (on && (!down || expected.gro || expected.large_from_device)) {
            CHECK(seen.merged > 0);
            CHECK(seen.longest > 2 * mtu);
            CHECK(seen.segment > longest_segment / 2);
        } else {
            CHECK(seen.merged == 0);
            CHECK(seen.longest <= mtu);
        }
        if (down)
            CHECK((by_device > mtu + link_header) == (on && expected.large_from_device));
    }

    void check(const Expected &expected) const {
        INFO(name_of(kind) << " " << expected.mode);
        const Features here = features(Side::a), there = features(Side::b);
        {
            Attachment attachment(network.a(), network.devices(), expected.mode);
            CHECK(changed(here, features(Side::a)) == expected.here);
            CHECK(changed(there, features(Side::b)) == expected.there);
            mpsched("path x0 weight=3");
            mpsched("use weighted --direction both");
            for (const bool on : {true, false}) {
                if (!on)
                    switch_all(false, std::string_view(expected.mode) == "tc");
                for (const Direction direction : {Direction::upload, Direction::download})
                    carry(expected, direction, on);
            }
            attachment.detach();
        }
        switch_all(true, std::string_view(expected.mode) == "tc");
        CHECK(changed(here, features(Side::a)) == expected.after);
        CHECK(changed(there, features(Side::b)).empty());
        switch_all(true, true);
    }
};

} // namespace

TEST_CASE("veths go on with packets of many segments in each mode", "[e2e][offload]") {
    Run run{.kind = Kind::veth, .bytes = 3'000'000};
    run.switch_all(true, false);
    run.check({.mode = "tc", .large_from_device = true});
    run.check({.mode = "generic", .large_from_device = true, .gro = false});
    run.check({.mode = "native", .there = {"tcp-segmentation-offload off"}, .large_from_device = false});
}

namespace {

Run on_cables() {
    if (!std::getenv("MPS_CABLES"))
        mps::test::skip("there are no cards at both ends of a cable");
    Run run{.kind = Kind::virtio, .bytes = 3'000'000};
    run.switch_all(true, true);
    return run;
}

} // namespace

TEST_CASE("virtio cards go on with packets of many segments", "[e2e][offload]") {
    Run run = on_cables();
    run.check({.mode = "tc", .large_from_device = true});
    run.check({.mode = "generic",
               .here = {"rx-gro-hw off"},
               .large_from_device = false,
               .gro = false,
               .after = {"rx-gro-hw off"}});
}

// By itself, since with any program in native mode 7.2 can stop a download for good (docs/devices.md).
TEST_CASE("with native XDP virtio cards hand over single segments", "[e2e][offload]") {
    on_cables().check({.mode = "native", .large_from_device = false});
}
