// SPDX-License-Identifier: MIT
//
// Packets that TCP does not take move nothing, a peer that keeps changing its mind opens no path, and nothing that we
// forge leaves the host.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include "packet.hpp"
#include "traffic.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

using namespace mps::packet;
using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);
constexpr double idle = 0.01; // largest share of a path that carries nothing but answers

/// A packet socket on a device: frames can be sent, and those that leave by it or arrive on it are seen.
class RawSocket {
  public:
    RawSocket(const Namespace &ns, const std::string &device, std::uint16_t protocol = 0) {
        must(ns.run([&]() -> Result<void> {
            fd_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            sockaddr_ll at{};
            at.sll_family = AF_PACKET;
            at.sll_protocol = htons(protocol);
            at.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
            if (!fd_ || ::bind(fd_.get(), reinterpret_cast<sockaddr *>(&at), sizeof(at)) != 0) {
                return os_error("open a packet socket on", device, errno);
            }
            return {};
        }));
    }

    void send(const Bytes &frame) const {
        REQUIRE(::send(fd_.get(), frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
    }

    template <class Matches>
    std::size_t count(Matches matches) const {
        std::size_t n = 0;
        Bytes frame(65536);
        for (ssize_t size = 0; (size = ::recv(fd_.get(), frame.data(), frame.size(), 0)) > 0;) {
            n += matches(ByteView(frame.data(), static_cast<std::size_t>(size)));
        }
        return n;
    }

  private:
    Fd fd_;
};

std::string mac_of(const Namespace &ns, const std::string &device) {
    const auto link = Json::parse(must(ns.spawn_checked({"ip", "-j", "link", "show", device})).out);
    return link.at(0).at("address").get<std::string>();
}

/// Ends of the subflow to one of the peer's addresses, as the command tells them.
Json subflow_to(const Cli &mpsched, const std::string &remote) {
    for (const auto &connection : mpsched.json("conns")) {
        for (const auto &subflow : connection.at("subflows")) {
            if (subflow.at("remote").get<std::string>().starts_with(remote + ":")) {
                return subflow;
            }
        }
    }
    FAIL("conns shows no subflow to " << remote);
    return {};
}

std::uint16_t port_of(const Json &subflow, const char *end) {
    const auto text = subflow.at(end).get<std::string>();
    return static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
}

Network two_paths() {
    return must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = path_mbit}},
         .joins = Joins::server_signal}));
}

} // namespace

TEST_CASE("forged packets with the right addresses and ports alone move nothing", "[e2e][forged]") {
    for (const auto *mode : modes) {
        INFO(mode);
        const auto network = two_paths();
        const auto peer = network.address(Side::b, 1), own = network.address(Side::a, 1);
        const auto server = serve(network);
        Attachment attachment(network.a(), network.devices(), mode);
        const Cli mpsched(network.a());
        mpsched("use default");
        auto transfer = upload(network, server);
        const auto subflow = subflow_to(mpsched, peer);
        const TCP tcp{.sport = port_of(subflow, "remote"),
                      .dport = port_of(subflow, "local"),
                      .seq = 0x11111111,
                      .ack_seq = 0x22222222};
        const auto forged = [&](const std::string &device, const Packet &options) {
            return (Ethernet{.dst = mac_of(network.a(), device).c_str(), .src = "02:00:5e:00:53:66"} /
                    IPv4{.src = peer.c_str(), .dst = own.c_str()} / tcp / options)
                .build();
        };

        // Not the peer's wish, and nothing that the stack would take from it.
        const auto received = mp_prio_received(network.a());
        const RawSocket on_lte(network.b(), "lte"), on_dsl(network.b(), "dsl");
        on_lte.send(forged("lte", mp_prio{.backup = true} / nop()));
        std::this_thread::sleep_for(200ms);
        CHECK(mp_prio_received(network.a()) == received);
        CHECK_FALSE(kernel_backup(network.a(), peer));
        CHECK_FALSE(subflow_to(mpsched, peer).at("peer_backup").get<bool>());
        CHECK(mpsched.json("stats").at("doubt_seq").get<int>() > 0);

        // Nor does the idle subflow move to the interface on which somebody pretends to be its peer.
        mpsched("path lte priority=1");
        mpsched("use active-standby");
        std::this_thread::sleep_for(path_time(500ms)); // what is queued drains
        Meter meter(network.b(), network.devices());
        for (int i = 0; i < 200; ++i) {
            on_dsl.send(forged("dsl", dss{.data_ack64 = 7} / mp_prio{.backup = false} / nop()));
            std::this_thread::sleep_for(5ms);
        }
        const auto window = meter.read();
        report(fmt::format("{}, forged packets on dsl: {}", mode, window.text()));
        INFO(window.text());
        CHECK(window.share[1] < idle);
        CHECK(window.mbit[0] > 0.5 * path_mbit);
        CHECK(subflow_to(mpsched, peer).at("ifname") == "lte");
        CHECK_FALSE(subflow_to(mpsched, peer).at("peer_backup").get<bool>());
        transfer.stop();
        check_clean(transfer.wait());
    }
}

TEST_CASE("a peer that changes its mind fifty times a second gets nothing onto the standby",
          "[e2e][forged]") {
    for (const auto *mode : modes) {
        INFO(mode);
        const auto network = two_paths();
        const auto peer = network.address(Side::b, 1);
        const auto server = serve(network);
        Attachment attachment(network.a(), network.devices(), mode);
        const Cli mpsched(network.a());
        mpsched("path lte priority=1");
        mpsched("use active-standby");
        auto transfer = upload(network, server);
        std::this_thread::sleep_for(path_time(500ms));
        const auto received = mp_prio_received(network.a());
        const auto rewritten = mpsched.json("stats").at("rewritten").get<int>();
        Meter meter(network.b(), network.devices());
        for (int i = 0; i < 50; ++i) {
            must(network.b().ip(
                fmt::format("mptcp endpoint change {} {}", peer, i % 2 ? "nobackup" : "backup")));
            std::this_thread::sleep_for(10ms);
        }
        const auto window = meter.read();
        const auto line = fmt::format("{}: {}, MPPrioRx {}, rewritten {}", mode, window.text(),
                                      mp_prio_received(network.a()) - received,
                                      mpsched.json("stats").at("rewritten").get<int>() - rewritten);
        report(line);
        INFO(line);
        CHECK(mp_prio_received(network.a()) - received >= 40);
        CHECK(mpsched.json("stats").at("rewritten").get<int>() - rewritten >= 15);
        CHECK(window.share[1] < idle);
        CHECK(window.mbit[0] > 0.5 * path_mbit);
        // Its last wish is known all the same.
        CHECK_FALSE(subflow_to(mpsched, peer).at("peer_backup").get<bool>());
        mpsched("use default");
        CHECK(wait_until([&] { return !kernel_backup(network.a(), peer); }, 1s) >= 0);
        transfer.stop();
        check_clean(transfer.wait());
    }
}

namespace {

/// Host A's addresses are on bridges. Our programs are on the ports to B; behind the other port of each bridge is a neighbour.
struct Bridged {
    Namespace a = must(Namespace::create("brA"));
    Namespace b = must(Namespace::create("brB"));
    Namespace lan = must(Namespace::create("brLan"));

    Bridged() {
        for (const Namespace *ns : {&a, &b}) {
            must(ns->spawn_checked({"sysctl", "-qw", "net.mptcp.enabled=1", "net.ipv4.conf.all.rp_filter=0",
                                    "net.ipv4.conf.default.rp_filter=0"}));
            must(ns->ip("mptcp limits set subflow 8 add_addr_accepted 8"));
        }
        for (int i : {1, 2}) {
            must(a.ip(fmt::format("link add port{0} type veth peer name port{0} netns {1}", i, b.name())));
            must(a.ip(fmt::format("link add lan{0} type veth peer name lan{0} netns {1}", i, lan.name())));
            must(a.ip(fmt::format("link add br{} type bridge", i)));
            for (const char *port : {"port", "lan"}) {
                must(a.ip(fmt::format("link set {0}{1} master br{1} up", port, i)));
            }
            must(a.ip(fmt::format("link set br{} up", i)));
            must(a.ip(fmt::format("addr add {} dev br{}", own(i) + "/28", i)));
            must(b.ip(fmt::format("link set port{} up", i)));
            must(b.ip(fmt::format("addr add {} dev port{}", peer(i) + "/28", i)));
            must(lan.ip(fmt::format("link set lan{} up", i)));
        }
        must(b.ip(fmt::format("mptcp endpoint add {} dev port2 signal", peer(2))));
    }
    static std::string own(int i) { return i == 1 ? "198.51.100.1" : "203.0.113.1"; }
    static std::string peer(int i) { return i == 1 ? "198.51.100.2" : "203.0.113.2"; }
};

bool bears_prio(ByteView frame) {
    const std::uint8_t wanted[] = {30, 3};
    for (auto at = frame.begin(); at + 3 < frame.end(); ++at) {
        if (std::equal(std::begin(wanted), std::end(wanted), at) && at[2] >> 4 == 5) {
            return true;
        }
    }
    return false;
}

} // namespace

TEST_CASE("wakes on bridge ports land and none leaves by the bridge's other ports", "[e2e][forged]") {
    for (const auto *mode : modes) {
        INFO(mode);
        const Bridged net;
        const auto server = must(Server::start(net.b, {.family = Family::ipv4}));
        Attachment attachment(net.a, {"port1", "port2"}, mode);
        const Cli mpsched(net.a);
        mpsched("path port2 priority=1");
        mpsched("use active-standby -s hold_ms=0");
        auto spec = light_traffic();
        spec.address = Bridged::peer(1);
        spec.port = server.port();
        auto transfer = must(Transfer::start(net.a, std::move(spec)));
        REQUIRE(transfer.wait_for_subflows(2));
        std::this_thread::sleep_for(200ms);
        const RawSocket lan1(net.lan, "lan1", ETH_P_ALL), lan2(net.lan, "lan2", ETH_P_ALL);
        const auto before = mpsched.json("stats");

        check_wakes_land({net.a, "port2", fmt::format("{} bridge ports", mode)});
        const auto after = mpsched.json("stats");
        CHECK(after.at("wake_landed").get<int>() > before.at("wake_landed").get<int>());
        CHECK(after.at("wake_lost").get<int>() == before.at("wake_lost").get<int>());
        CHECK(lan1.count(bears_prio) + lan2.count(bears_prio) == 0);
        transfer.stop();
        check_clean(transfer.wait());
    }
}
