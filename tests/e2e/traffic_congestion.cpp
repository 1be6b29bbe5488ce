// SPDX-License-Identifier: MIT
//
// Congestion controls of `mpsched cc` under real connections: who has which, as ss(8) tells, what becomes of those that are in use, and
// what a TCP has beside two subflows over one bottleneck.
#include <algorithm>
#include <cstdlib>
#include <thread>

#include "cgroup.hpp"
#include "traffic.hpp"

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr const char *coupled[] = {"mps_lia", "mps_olia", "mps_balia"};
constexpr const char *names[] = {"mps_lia", "mps_olia", "mps_balia", "cubic", "reno", "bbr"};

NetworkSpec two_paths() {
    return {
        .paths = {{.name = "dsl", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}}};
}

/// An established socket as ss(8) shows it.
struct Socket {
    std::string remote; ///< address and port
    std::string control;
    bool mptcp = false;
    std::uint64_t acked = 0; ///< bytes of contents
};

std::vector<Socket> sockets(const Namespace &ns) {
    std::vector<Socket> all;
    std::istringstream lines(must(ns.spawn_checked({"ss", "-tinHO", "state", "established"})).out);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string receive_queue, send_queue, local;
        Socket one;
        one.mptcp = line.contains("tcp-ulp-mptcp");
        words >> receive_queue >> send_queue >> local >> one.remote;
        for (std::string word; words >> word;) {
            if (one.control.empty() && std::ranges::find(names, word) != std::end(names))
                one.control = word;
            if (word.starts_with("bytes_acked:"))
                one.acked = std::stoull(word.substr(word.find(':') + 1));
        }
        all.push_back(one);
    }
    return all;
}

std::size_t count(const Namespace &ns, const std::string &control, bool mptcp) {
    return static_cast<std::size_t>(std::ranges::count_if(
        sockets(ns), [&](const Socket &one) { return one.control == control && one.mptcp == mptcp; }));
}

/// Host A, whose subflows get congestion controls; nothing of them is left at the end of its life.
struct Scene {
    Network network;
    Cli mpsched{network.a()};
    Server server = serve(network);
    Server tcp_server = must(Server::start(network.b(), {.protocol = Protocol::tcp}));

    explicit Scene(NetworkSpec spec = two_paths()) : network(must(Network::create(std::move(spec)))) {}
    Scene(const Scene &) = delete;
    Scene &operator=(const Scene &) = delete;
    ~Scene() {
        std::ignore = mpsched.try_run("detach --all");
        std::ignore = mpsched.try_run("cc unload all --drain=0");
    }

    Transfer tcp() const {
        return must(Transfer::start(
            network.a(),
            {.address = network.server_address(), .port = tcp_server.port(), .protocol = Protocol::tcp}));
    }
    Transfer mptcp(std::size_t subflows = 2) const {
        Transfer transfer = upload(network, server);
        REQUIRE(transfer.wait_for_subflows(subflows, 20s));
        return transfer;
    }
    Json control(const std::string &name) const {
        const Json list = mpsched.json("cc list");
        for (const Json &one : list["controls"])
            if (one["name"] == name)
                return one;
        FAIL("cc list does not know " << name);
        return {};
    }
    std::uint64_t users(const std::string &name) const { return control(name)["users"]; }
    bool has(const std::string &control, std::size_t subflows, std::size_t plain) const {
        return wait_until(
                   [&] {
                       return count(network.a(), control, true) == subflows &&
                              count(network.a(), control, false) == plain;
                   },
                   5s) >= 0;
    }
};

/// A TCP and an MPTCP connection with two subflows, all over one link whose queue is in the network: 20 Mbit/s, 20 ms, and room for 60
/// packets, by netem, since behind TBF on a veth TCP's small queues hold back what would wait.
struct Bottleneck : Scene {
    explicit Bottleneck(const std::string &control)
        : Scene({.paths = {{.name = "dsl",
                            .rate_mbit = 20,
                            .netem = Netem{.delay_ms = 10, .limit_packets = 80}}},
                 .single_packets = true,
                 .congestion_control = control}) {
        must(network.a().ip("addr add 198.51.100.3/28 dev dsl\n"
                            "mptcp endpoint add 198.51.100.3 dev dsl subflow\n"));
    }

    /// What the TCP has of all that is acknowledged meanwhile.
    double share_of_tcp(std::chrono::milliseconds settle, std::chrono::milliseconds duration) const {
        const Transfer both = mptcp();
        const Transfer alone = tcp();
        std::this_thread::sleep_for(settle);
        const auto from = acked();
        std::this_thread::sleep_for(duration);
        const auto to = acked();
        const double tcp = to.first - from.first, mptcp = to.second - from.second;
        return tcp / (tcp + mptcp);
    }

  private:
    /// By TCP and by subflows.
    std::pair<double, double> acked() const {
        std::pair<double, double> sum{};
        for (const Socket &one : sockets(network.a()))
            (one.mptcp ? sum.second : sum.first) += static_cast<double>(one.acked);
        return sum;
    }
};

/// 10^6 bit/s of contents that an upload over both paths makes.
double goodput(const NetworkSpec &spec, const std::string &control, std::chrono::milliseconds duration) {
    const Scene scene(spec);
    if (control.starts_with("mps_"))
        scene.mpsched("cc use " + control);
    const Transfer transfer = scene.mptcp();
    std::this_thread::sleep_for(duration / 4);
    const Delivered from = delivered(transfer, scene.network);
    std::this_thread::sleep_for(duration);
    return goodput_mbit(from, delivered(transfer, scene.network));
}

/// $MPS_MEASURE_SECONDS of network time for each number.
std::chrono::milliseconds measured_time() {
    const char *text = std::getenv("MPS_MEASURE_SECONDS");
    return std::chrono::seconds(text ? std::atoi(text) : 20);
}

std::vector<std::string> with_coupled(std::vector<std::string> first) {
    first.insert(first.end(), std::begin(coupled), std::end(coupled));
    return first;
}

} // namespace

TEST_CASE("a congestion control is given to subflows and not to TCP, and taken back") {
    const Scene scene;
    const Transfer before = scene.mptcp();
    const Transfer tcp = scene.tcp();
    CHECK(scene.has("cubic", 2, 1));
    CHECK(scene.mpsched("cc use lia").out.contains("loaded mps_lia"));
    CHECK(scene.has("mps_lia", 2, 0));
    {
        Transfer after = scene.mptcp();
        CHECK(scene.has("mps_lia", 4, 0));
        // The kernel's count is that of ss, and each is found.
        CHECK(scene.users("mps_lia") == 4);
        CHECK(scene.control("mps_lia")["sockets"].size() == 4);
        after.stop();
        check_clean(after.wait());
    }
    scene.mpsched("cc use olia --plain-tcp");
    CHECK(scene.has("mps_olia", 2, 1));
    scene.mpsched("cc unuse");
    CHECK(scene.has("cubic", 2, 1));
    CHECK(scene.mpsched("cc unload all").out.contains("unloaded"));
    CHECK(scene.control("mps_lia")["state"] == "not loaded");
}

TEST_CASE("a congestion control in use is not unloaded, or goes with its last user") {
    const Scene scene;
    scene.mpsched("cc load all");
    CHECK(scene.mpsched("cc load all").out.contains("were loaded already"));
    scene.mpsched("cc use balia");
    Transfer transfer = scene.mptcp();
    const auto refused = scene.mpsched.try_run("cc unload balia --json");
    CHECK(refused.exit_code == 1);
    CHECK(Json::parse(refused.out)["error"]["kind"] == "in-use");
    CHECK(Json::parse(refused.out)["error"]["what"].get<std::string>().contains("2 users"));
    CHECK(scene.mpsched.try_run("cc unload balia --drain=0").exit_code == 0);
    CHECK(scene.control("mps_balia")["state"] == "not loaded");
    CHECK(scene.has("mps_balia", 2, 0));
    CHECK(scene.mpsched.json("cc list")["rules"][0]["problem"].get<std::string>().contains("not loaded"));
    // A new one of that name stands beside it; whoever comes now gets that.
    scene.mpsched("cc load balia");
    Transfer other = scene.mptcp();
    CHECK(scene.has("mps_balia", 4, 0));
    transfer.stop();
    check_clean(transfer.wait());
    other.stop();
    check_clean(other.wait());
    CHECK(wait_until([&] { return scene.users("mps_balia") == 0; }, 10s) >= 0);
    CHECK(scene.mpsched.json("cc list")["controls"].size() == 3);
    scene.mpsched("cc unload all");
}

TEST_CASE("a congestion control follows rules, and detach takes it back") {
    const Scene scene;
    const Cgroup cgroup("cc");
    scene.mpsched(fmt::format("cc use lia --for rport={}", scene.server.port()));
    scene.mpsched("cc use olia");
    scene.mpsched(fmt::format("cc use balia --for cgroup={}", cgroup.path()));
    const Transfer named = scene.mptcp();
    CHECK(scene.has("mps_lia", 2, 0));
    const Json rules = scene.mpsched.json("cc list")["rules"];
    REQUIRE(rules.size() == 3);
    CHECK(rules[0]["given"] == 2);
    CHECK(rules[2]["selector"].is_null());
    scene.mpsched(fmt::format("cc unuse --for rport={}", scene.server.port()));
    CHECK(scene.has("mps_olia", 2, 0));
    REQUIRE(cgroup.enter());
    {
        const Transfer inside = scene.mptcp();
        CHECK(scene.has("mps_balia", 2, 0));
    }
    REQUIRE(cgroup.leave());
    CHECK(scene.mpsched.try_run("cc use lia --for host=example.org").exit_code == 2);
    CHECK(scene.mpsched.try_run("cc use nonsense").exit_code == 2);
    CHECK(scene.mpsched.try_run("cc unuse --for mark=7").exit_code == 2);
    scene.mpsched("attach dsl");
    CHECK(scene.mpsched.json("status")["congestion_rules"].size() == 2);
    CHECK(scene.mpsched("detach --all").out.contains("2 congestion control rules"));
    CHECK(scene.has("cubic", 2, 0));
    CHECK(scene.mpsched.json("cc list")["rules"].empty());
}

namespace {

void report_shares(const std::string &control) {
    for (const std::string &name : with_coupled({control})) {
        const Bottleneck scene(control);
        if (name != control)
            scene.mpsched("cc use " + name);
        report(fmt::format("share of a TCP with {:5} beside two subflows with {:9} {:.3f}", control, name,
                           scene.share_of_tcp(measured_time() / 4, measured_time())));
    }
}

} // namespace

// For the tables of docs/congestion.md, in VMs.
TEST_CASE("measure: what a TCP with reno has beside two subflows over one bottleneck", "[.measure]") {
    report_shares("reno");
}

TEST_CASE("measure: what a TCP with cubic has beside two subflows over one bottleneck", "[.measure]") {
    report_shares("cubic");
}

TEST_CASE("measure: goodput over two paths of their own", "[.measure]") {
    const Netem five{.delay_ms = 2.5}, ten{.delay_ms = 5}, forty{.delay_ms = 20};
    const NetworkSpec equal{.paths = {{.name = "dsl", .rate_mbit = 20, .netem = ten},
                                      {.name = "lte", .rate_mbit = 20, .netem = ten}},
                            .single_packets = true};
    const NetworkSpec unlike{.paths = {{.name = "dsl", .rate_mbit = 20, .netem = five},
                                       {.name = "lte", .rate_mbit = 5, .netem = forty}},
                             .single_packets = true};
    for (const auto &[name, spec] : {std::pair("20/10 + 20/10", equal), std::pair("20/5 + 5/40", unlike)})
        for (const std::string &control : with_coupled({"cubic", "reno"})) {
            NetworkSpec with = spec;
            with.congestion_control = control.starts_with("mps_") ? "cubic" : control;
            report(fmt::format("{} with {:9} {:.2f} Mbit/s", name, control,
                               goodput(with, control, measured_time())));
        }
}
