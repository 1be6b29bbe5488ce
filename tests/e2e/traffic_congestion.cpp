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
};

std::vector<Socket> sockets(const Namespace &ns) {
    std::vector<Socket> all;
    std::istringstream lines(must(ns.spawn_checked({"ss", "-tinHO", "state", "established"})).out);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string receive_queue, send_queue, local;
        Socket one{.mptcp = line.contains("tcp-ulp-mptcp")};
        words >> receive_queue >> send_queue >> local >> one.remote;
        for (std::string word; one.control.empty() && words >> word;)
            if (std::ranges::find(names, word) != std::end(names))
                one.control = word;
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
    scene.mpsched("detach --all");
    CHECK(scene.has("cubic", 2, 0));
    CHECK(scene.mpsched.json("cc list")["rules"].empty());
}
