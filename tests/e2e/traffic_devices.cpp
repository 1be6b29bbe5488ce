// SPDX-License-Identifier: MIT
//
// Devices that are stacked on others (docs/devices.md): attached without a word about the mode, they are steered, by their own
// attributes. What the kernel did is read from its byte counters and from MP_PRIO that it accepted.
#include <algorithm>
#include <cerrno>
#include <functional>
#include <thread>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <net/if.h>
#include <sys/socket.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "traffic.hpp"
#include "traffic_wire.hpp"

using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(20);

struct Steered {
    Kind kind;
    // What is attached; empty: the paths' own devices. The weight 3 goes to the first path's device.
    std::vector<std::string> attached{};
    bool bound = true;

    std::string first() const { return attached.empty() ? "x0" : attached[0]; }
    std::string second() const { return attached.empty() ? "x1" : attached[1]; }
};

WiredNetwork network_of(const Steered &steered) {
    if (const auto why = missing(steered.kind))
        mps::test::skip(*why);
    WiredPath path{.kind = steered.kind, .rate_mbit = path_mbit, .bound = steered.bound};
    WiredPath other = path;
    path.name = "x0";
    other.name = "x1";
    return WiredNetwork({path, other});
}

// What A forges claims to come from B, and is for A alone.
class Leaks {
  public:
    explicit Leaks(const WiredNetwork &network)
        : peer_(network.b(), {network.address(Side::b, 0), network.address(Side::b, 1)}),
          neighbour_(network.c(), {network.address(Side::b, 0), network.address(Side::b, 1)}) {}
    void check() {
        CHECK(peer_.seen() == 0);
        CHECK(neighbour_.seen() == 0);
    }
    std::uint32_t peer() { return peer_.seen(); }
    std::uint32_t neighbour() { return neighbour_.seen(); }

  private:
    Outside peer_;
    Outside neighbour_;
};

// The share of the first path, of two with the weights 3 and 1.
double measure_share(const WiredNetwork &network, const Steered &steered, const Server &server,
                     Direction direction = Direction::upload) {
    const bool download = direction == Direction::download;
    const Cli mpsched(network.a());
    mpsched(fmt::format("path {} weight=3", steered.first()));
    mpsched("use weighted");
    auto transfer = network.start(server, {.direction = direction});
    std::this_thread::sleep_for(download ? 1500ms : 1s);
    Meter meter(download ? network.a() : network.b(), network.devices());
    const auto share = undisturbed(
        [&] {
            const auto window = meter.over(2s);
            report(fmt::format("{}: {} with weights 3:1: {}", name_of(steered.kind),
                               download ? "download" : "upload", window.text()));
            return window.share[0];
        },
        [](double seen) { return seen == Approx(0.75).margin(0.04); }, 3);
    transfer.stop();
    check_clean(transfer.wait());
    return share;
}

// The second subflow is idle, so that only wakes reach it.
void check_wakes(const WiredNetwork &network, const Steered &steered, const Server &server) {
    const Cli mpsched(network.a());
    mpsched(fmt::format("path {} priority=1", steered.second()));
    mpsched("use active-standby -s hold_ms=0");
    auto transfer = network.start(server, light_traffic());
    std::this_thread::sleep_for(200ms);
    check_wakes_land({network.a(), steered.second(), std::string(name_of(steered.kind)), 8});
    transfer.stop();
    check_clean(transfer.wait());
}

// Two paths of the kind with the weights 3 and 1 carry bytes in that ratio, wakes reach the stack, and nothing forged gets out.
void check_steered(const Steered &steered) {
    const WiredNetwork network = network_of(steered);
    const auto server = network.serve();
    const Health health(network.a(), network.b());
    Leaks leaks(network);
    Attachment attachment(network.a(), steered.attached.empty() ? network.devices() : steered.attached);
    const Cli mpsched(network.a());
    for (const Json status = mpsched.json("status"); const auto &interface : status.at("interfaces"))
        CHECK(interface.at("mode") == "tc");
    CHECK(mpsched.json("status").at("problems").empty());
    const auto prios = mp_prio_received(network.a());
    CHECK(measure_share(network, steered, server) == Approx(0.75).margin(0.04));
    CHECK(mp_prio_received(network.a()) > prios);
    check_wakes(network, steered, server);
    leaks.check();
    health.check();
}

// What the table says of a kind and a mode.
std::string row_of(const Steered &steered, const std::string &mode) {
    if (const auto why = missing(steered.kind))
        return *why;
    const WiredNetwork network = network_of(steered);
    const auto server = network.serve();
    const Cli mpsched(network.a());
    const auto attached =
        mpsched.try_run(fmt::format("attach {} --mode {}", fmt::join(steered.attached, " "), mode));
    if (attached.exit_code != 0)
        return fmt::format("refused: {}", attached.err.substr(0, attached.err.find('\n')));
    const Attachment attachment(network.a(), steered.attached, mode);
    Leaks leaks(network);
    const auto chosen = mpsched.json("status").at("interfaces").at(0).at("mode").get<std::string>();
    const auto prios = mp_prio_received(network.a());
    const double share = measure_share(network, steered, server);
    const auto kernel = mp_prio_received(network.a()) - prios;
    return fmt::format("{}: {:.0f} %, {} MP_PRIO, {} packets got out", chosen, 100 * share, kernel,
                       leaks.peer() + leaks.neighbour());
}

void report_row(const Steered &steered, const std::string &name, const std::string &mode) {
    report(fmt::format("{} | {} | {}", name, mode, row_of(steered, mode)));
}

// An IPv4 header from B's first address, broadcast from a device of A.
void send_forged(const WiredNetwork &network, const std::string &device) {
    must(network.a().run([&]() -> Result<void> {
        const Fd fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd)
            return os_error("open", "a packet socket", errno);
        iphdr header{};
        header.ihl = 5;
        header.version = 4;
        header.tot_len = htons(sizeof(header));
        header.ttl = 64;
        header.protocol = IPPROTO_TCP;
        ::inet_pton(AF_INET, network.address(Side::b, 0).c_str(), &header.saddr);
        ::inet_pton(AF_INET, network.address(Side::a, 0).c_str(), &header.daddr);
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_protocol = htons(ETH_P_IP);
        to.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
        to.sll_halen = 6;
        std::fill_n(to.sll_addr, 6, std::uint8_t{0xff});
        if (::sendto(fd.get(), &header, sizeof(header), 0, reinterpret_cast<const sockaddr *>(&to),
                     sizeof(to)) < 0)
            return os_error("send", device, errno);
        return {};
    }));
}

} // namespace

namespace {

// The peer, which knows nothing of mpsched, sends as the weights here say, and took what we say we sent.
void check_downloads(Kind kind) {
    const Steered steered{kind};
    const WiredNetwork network = network_of(steered);
    const auto server = network.serve();
    const Health health(network.a(), network.b());
    Leaks leaks(network);
    Attachment attachment(network.a(), network.devices());
    const auto prios = mp_prio_received(network.b());
    CHECK(measure_share(network, steered, server, Direction::download) == Approx(0.75).margin(0.05));
    CHECK(mp_prio_received(network.b()) > prios);
    leaks.check();
    health.check();
}

} // namespace

TEST_CASE("downloads over VLANs are steered", "[e2e][devices]") { check_downloads(Kind::vlan); }

TEST_CASE("downloads over layer 3 devices are steered", "[e2e][devices]") { check_downloads(Kind::tun); }

TEST_CASE("downloads over the members of a VRF are steered", "[e2e][devices]") { check_downloads(Kind::vrf); }

// Not part of every run: ./build/bin/tests/traffic_devices '[downloads]'
TEST_CASE("downloads over other kinds of devices are steered", "[.][downloads]") {
    for (const Kind kind : {Kind::tap, Kind::bond, Kind::bridge, Kind::macvlan, Kind::ipvlan, Kind::macsec,
                            Kind::vxlan, Kind::gre, Kind::ipip, Kind::wireguard, Kind::team, Kind::ovs}) {
        INFO(name_of(kind));
        if (const auto why = missing(kind))
            report(*why);
        else
            check_downloads(kind);
    }
}

TEST_CASE("two bonds are steered, and native XDP is refused there", "[e2e][devices]") {
    check_steered({Kind::bond});
    const WiredNetwork network({{.name = "x0", .kind = Kind::bond}});
    const auto refused = Cli(network.a()).try_run("attach x0 --mode native");
    CHECK(refused.exit_code == 3);
    CHECK(refused.err.find("on its members") != std::string::npos);
    const auto member = Cli(network.a()).try_run("attach x0l");
    CHECK(member.exit_code == 3);
    CHECK(member.err.find("attach x0 instead") != std::string::npos);
}

TEST_CASE("sockets that are bound to a VRF are steered from its members", "[e2e][devices]") {
    check_steered({Kind::vrf});
}

TEST_CASE("two VLANs are steered by their own weights, also where their parents are attached",
          "[e2e][devices]") {
    check_steered({Kind::vlan, {"x0", "x1", "x0l", "x1l"}});
}

TEST_CASE("two macvlans are steered", "[e2e][devices]") { check_steered({Kind::macvlan}); }

TEST_CASE("two ipvlans are steered", "[e2e][devices]") { check_steered({Kind::ipvlan}); }

TEST_CASE("two bridges are steered, also where their ports are attached", "[e2e][devices]") {
    check_steered({Kind::bridge, {"x0", "x1", "x0l", "x1l"}});
}

// Wakes come in through the ports here, where a destination that the bridge does not know would be flooded.
TEST_CASE("from bridges' ports sockets that are bound to no device are steered", "[e2e][devices]") {
    check_steered({Kind::bridge, {"x0l", "x1l"}, false});
}

TEST_CASE("a packet that claims to come from the peer is counted where it gets out", "[e2e][devices]") {
    const WiredNetwork network({{.name = "x0", .kind = Kind::bridge}, {.name = "x1", .kind = Kind::bridge}});
    Leaks leaks(network);
    // Again and again: a device that has just come up loses what is sent before its carrier has been noticed.
    const auto gets_out = [&](const std::string &device, const std::function<std::uint32_t()> &seen) {
        return wait_until([&] { return send_forged(network, device), seen() > 0; }, 5s) >= 0;
    };
    CHECK(gets_out("x0l", [&] { return leaks.peer(); }));
    CHECK(gets_out("x1o", [&] { return leaks.neighbour(); }));
}

TEST_CASE("sockets that are bound to what stands on an attached device are told, with what to attach",
          "[e2e][devices]") {
    struct Stack {
        Kind kind;
        std::string told; // by doctor
    };
    for (const auto &[kind, told] :
         {Stack{Kind::macvlan, "192.0.2.17 is an address of x1, which stands on x1l"},
          {Kind::bridge, "x1l is a port of the bridge x1: sockets use x1"}}) {
        INFO(name_of(kind));
        const WiredNetwork network({{.name = "x0", .kind = kind}, {.name = "x1", .kind = kind}});
        const auto server = network.serve();
        const Cli mpsched(network.a());
        const auto said = mpsched("attach x0l x1l").err;
        const Attachment attachment(network.a(), {"x0l", "x1l"});
        CHECK(said.find("x1l") != std::string::npos);
        CHECK(said.find("attach x1 ") != std::string::npos);
        auto transfer = network.start(server);
        const auto found = [&] {
            const auto findings = mpsched.try_run("doctor");
            return findings.exit_code == 1 && findings.out.find(told) != std::string::npos;
        };
        CHECK(wait_until(found, 3s, 200ms) >= 0);
        transfer.stop();
        check_clean(transfer.wait());
    }
}

// Not run by default: prints docs/devices.md's table, one line for each kind and mode.
TEST_CASE("each kind of device in each mode, for the table of the documentation", "[.kinds]") {
    const std::vector<std::string> own{"x0", "x1"}, below{"x0l", "x1l"};
    for (const auto &[kind, attached, bound] : std::vector<Steered>{{Kind::veth, own},
                                                                    {Kind::bond, own},
                                                                    {Kind::team, own},
                                                                    {Kind::bridge, own},
                                                                    {Kind::bridge, below, false},
                                                                    {Kind::vlan, own},
                                                                    {Kind::vlan, below, false},
                                                                    {Kind::macvlan, own},
                                                                    {Kind::macvlan, below, false},
                                                                    {Kind::ipvlan, own},
                                                                    {Kind::ipvlan, below, false},
                                                                    {Kind::ovs, own},
                                                                    {Kind::macsec, own},
                                                                    {Kind::vxlan, own},
                                                                    {Kind::gre, own},
                                                                    {Kind::ipip, own},
                                                                    {Kind::wireguard, own},
                                                                    {Kind::vrf, own}}) {
        const std::string name =
            fmt::format("{}{}", name_of(kind), attached == own ? "" : ", the device below");
        DYNAMIC_SECTION(name) {
            for (const auto *mode : {"auto", "generic", "native"}) {
                DYNAMIC_SECTION(mode) { report_row({kind, attached, bound}, name, mode); }
            }
        }
    }
}
