// SPDX-License-Identifier: MIT
#include <algorithm>
#include <filesystem>

#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/transfer.hpp>

#include "must.hpp"

using namespace mps::lab;
using namespace std::chrono_literals;
using mps::lab::test::must;

namespace {

bool exists(const std::string &netns) { return std::filesystem::exists("/run/netns/" + netns); }

// One small TCP exchange from an address of A to an address of B.
bool reaches(const Network &network, const std::string &from, const std::string &to) {
    const auto server =
        must(Server::start(network.b(), {.family = network.spec().family, .protocol = Protocol::tcp}));
    auto transfer = must(Transfer::start(network.a(), {.address = to,
                                                       .port = server.port(),
                                                       .protocol = Protocol::tcp,
                                                       .bytes = 100,
                                                       .local_address = from,
                                                       .connect_timeout = 500ms,
                                                       .stall_timeout = 500ms}));
    return transfer.wait().verified();
}

} // namespace

TEST_CASE("a namespace exists under its name and is gone with its object", "[lab][netns]") {
    std::string name;
    {
        auto ns = must(Namespace::create("t"));
        name = ns.name();
        CHECK(exists(name));
        auto moved = std::move(ns);
        CHECK(exists(name));
        const auto second = must(Namespace::create("t"));
        CHECK(second.name() != name);
    }
    CHECK_FALSE(exists(name));
}

TEST_CASE("a namespace that the signal path cleaned is gone", "[lab][netns]") {
    const auto ns = must(Namespace::create("t"));
    REQUIRE(exists(ns.name()));
    run_cleanups();
    CHECK_FALSE(exists(ns.name()));
}

TEST_CASE("only namespaces of dead processes are swept", "[lab][netns]") {
    const auto ns = must(Namespace::create("t"));
    // The largest pid a kernel can be told to use is 4194304, so nobody lives there.
    must(run_checked({"ip", "netns", "add", "mps4194999-t"}));
    const auto swept = Namespace::sweep_stale();
    CHECK(std::ranges::count(swept, "mps4194999-t") == 1);
    CHECK_FALSE(exists("mps4194999-t"));
    CHECK(exists(ns.name()));
}

TEST_CASE("code, children and sysctls are inside the namespace", "[lab][netns]") {
    const auto ns = must(Namespace::create("t"));
    must(ns.ip("link add inside type veth peer name inside2"));
    CHECK(must(read_counters(ns)).devices.contains("inside"));
    CHECK(must(ns.spawn({"ip", "-br", "link"})).out.find("inside2") != std::string::npos);
    must(ns.set_sysctl("ipv4/conf/inside/rp_filter", "2"));
    CHECK(must(ns.get_sysctl("ipv4/conf/inside/rp_filter")) == "2");
    CHECK_FALSE(std::filesystem::exists("/sys/class/net/inside2"));
    CHECK(ns.run([] { return 42; }) == 42);
}

TEST_CASE("a line of a batch that fails is named", "[lab][netns]") {
    const auto ns = must(Namespace::create("t"));
    const auto result = ns.ip("link show lo\nlink set nosuchdev up\nlink show lo");
    REQUIRE_FALSE(result);
    CHECK(result.error().what.find("ip link set nosuchdev up") != std::string::npos);
}

TEST_CASE("impossible networks are refused with what is possible", "[lab][network]") {
    const auto refused = [](NetworkSpec spec) {
        const auto network = Network::create(std::move(spec));
        return !network && network.error().err == EINVAL && !network.error().hint.empty();
    };
    CHECK(refused({}));
    CHECK(refused({.paths = std::vector<PathSpec>(9, PathSpec{.name = "p"})}));
    CHECK(refused({.paths = {{.name = "p"}, {.name = "p"}}}));
    CHECK(refused({.paths = {{.name = "a-name-of-16-byt"}}}));
    CHECK(refused({.paths = {{.name = "p", .mtu = 100}}}));
    CHECK(refused({.paths = {{.name = "p", .rate_mbit = -1}}}));
    CHECK(refused({.paths = {{.name = "p"}}, .first_path = 1}));
    CHECK(refused({.paths = {{.name = "1"}, {.name = "2"}, {.name = "3"}, {.name = "4"}, {.name = "5"}},
                   .family = Family::dual}));
}

TEST_CASE("every path of a dual network of eight carries both families", "[lab][network]") {
    NetworkSpec spec{.family = Family::dual, .joins = Joins::none};
    for (int i = 0; i < 8; ++i) {
        spec.paths.push_back({.name = "p" + std::to_string(i)});
    }
    const auto network = must(Network::create(spec));
    for (std::size_t i = 0; i < 8; ++i) {
        for (const auto family : {Family::ipv4, Family::ipv6}) {
            const auto before = must(read_counters(network.a()));
            CHECK(reaches(network, network.address(Side::a, i, family), network.address(Side::b, i, family)));
            // The first path's server address is reached over the own path of the source.
            CHECK(reaches(network, network.address(Side::a, i, family), network.server_address(family)));
            const auto moved = must(read_counters(network.a())) - before;
            CHECK(moved.devices.at(spec.paths[i].name).tx_packets >= 2);
            CHECK(network.path_of(network.address(Side::a, i, family)) == i);
        }
    }
    CHECK(network.path_index("p3") == 3U);
    CHECK_FALSE(network.path_index("p9"));
}

TEST_CASE("a link that is down carries nothing, and carries again when it is up", "[lab][network]") {
    const auto family = GENERATE(Family::ipv4, Family::ipv6);
    const auto shaping = GENERATE(Shaping::hosts, Shaping::middle);
    const auto side = GENERATE(Side::a, Side::b);
    auto network = must(
        Network::create({.paths = {{.name = "p0"}, {.name = "p1"}}, .family = family, .shaping = shaping}));
    const auto works = [&] {
        return reaches(network, network.address(Side::a, 1), network.server_address());
    };
    INFO((family == Family::ipv6 ? "IPv6" : "IPv4") << (shaping == Shaping::middle ? " middle" : " hosts"));
    REQUIRE(works());
    must(network.set_link(1, false, side));
    CHECK_FALSE(works());
    must(network.set_link(1, true, side));
    CHECK(works());
}

TEST_CASE("a blackhole drops silently with the link up", "[lab][network]") {
    const auto shaping = GENERATE(Shaping::hosts, Shaping::middle);
    auto network = must(Network::create({.paths = {{.name = "p0", .rate_mbit = 10}}, .shaping = shaping}));
    const auto works = [&] {
        return reaches(network, network.address(Side::a, 0), network.server_address());
    };
    REQUIRE(works());
    must(network.set_blackhole(0, true));
    CHECK_FALSE(works());
    CHECK(must(network.a().spawn({"ip", "link", "show", "p0"})).out.find("LOWER_UP") != std::string::npos);
    must(network.set_blackhole(0, false));
    CHECK(works());
}

TEST_CASE("offloads are switched, and read back", "[lab][network]") {
    const auto network =
        must(Network::create({.paths = {{.name = "p0"}},
                              .offloads = {.tx_checksum = false, .tso = false, .gso = false, .gro = true}}));
    const auto shown = must(network.a().spawn({"ethtool", "-k", "p0"})).out;
    INFO(shown);
    CHECK(shown.find("tx-checksumming: off") != std::string::npos);
    CHECK(shown.find("tx-tcp-segmentation: off") != std::string::npos);
    CHECK(shown.find("generic-segmentation-offload: off") != std::string::npos);
    CHECK(shown.find("generic-receive-offload: on") != std::string::npos);
    CHECK_FALSE(set_device_offloads(network.a(), "nosuchdev", {.gro = true}));
}

TEST_CASE("unknown counters are errors, known ones of this kernel are found", "[lab][counters]") {
    const auto ns = must(Namespace::create("t"));
    const auto counters = must(read_counters(ns));
    CHECK(must(counters.get("MPTcpExtMPPrioRx")) == 0);
    CHECK(must(counters.get("TcpInCsumErrors")) == 0);
    CHECK_FALSE(counters.get("TcpExtNoSuchCounter"));
    CHECK(counters.get_or("TcpExtNoSuchCounter", -1) == -1);
}
