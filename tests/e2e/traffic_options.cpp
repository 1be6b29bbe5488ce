// SPDX-License-Identifier: MIT
//
// Rules about MPTCP options under real connections: who is to fall back does, and nobody else; what kernels on both ends count says
// that the option did not arrive; a living connection goes on.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "traffic.hpp"

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr std::uint64_t some_bytes = 200'000;

NetworkSpec two_paths(Joins joins = Joins::client_subflow) {
    return {.paths = {{.name = "dsl", .rate_mbit = 100}, {.name = "lte", .rate_mbit = 100}}, .joins = joins};
}

/// The kernel without tcx, as far as the command is concerned.
class WithoutTcx {
  public:
    explicit WithoutTcx(bool on) : on_(on) {
        if (on_)
            ::setenv("MPS_WITHOUT", "tcx", 1);
    }
    WithoutTcx(const WithoutTcx &) = delete;
    WithoutTcx &operator=(const WithoutTcx &) = delete;
    ~WithoutTcx() {
        if (on_)
            ::unsetenv("MPS_WITHOUT");
    }

  private:
    bool on_;
};

/// Rules on host A; all gone at the end of its life.
struct Scene {
    Network network;
    Server server = serve(network);
    Server other = serve(network); // whose port no rule names
    Cli mpsched{network.a()};

    explicit Scene(NetworkSpec spec = two_paths()) : network(must(Network::create(std::move(spec)))) {}
    Scene(const Scene &) = delete;
    Scene &operator=(const Scene &) = delete;
    ~Scene() { std::ignore = mpsched.try_run("detach --all"); }

    TransferResult run(const Server &to, unsigned connections = 5, Direction direction = Direction::upload) {
        TransferSpec spec{.direction = direction, .connections = connections, .bytes = some_bytes};
        return must(run_transfer(network, to, spec));
    }
    std::int64_t count(Side side, const char *name) const {
        return must(must(read_counters(network.host(side))).get(name));
    }
    std::uint64_t hits(std::size_t rule, const char *which = "changed") const {
        return mpsched.json("rule counters")[rule][which].get<std::uint64_t>();
    }
};

void check_content(const TransferResult &result, bool fallback) {
    REQUIRE_FALSE(result.connections.empty());
    for (const auto &one : result.connections) {
        CHECK(one.complete);
        CHECK(one.verified);
        CHECK(one.fallback == fallback);
        CHECK_FALSE(one.error.has_value());
    }
}

/// Subflows that the host's kernel has for backups.
std::size_t backups(const Namespace &ns) {
    std::size_t count = 0;
    for (const KernelSubflow &one : kernel_subflows(ns))
        count += one.backup;
    return count;
}

bool nothing_left(const Namespace &ns, const char *device) {
    for (const char *where : {"ingress", "egress"}) {
        const auto shown = must(ns.spawn({"tc", "filter", "show", "dev", device, where}));
        if (shown.out.find("mps_") != std::string::npos)
            return false;
    }
    return must(ns.spawn({"tc", "qdisc", "show", "dev", device})).out.find("clsact") == std::string::npos;
}

} // namespace

TEST_CASE("with MP_CAPABLE refused for a port, its connections are plain TCP and no others",
          "[e2e][options]") {
    const bool without_tcx = GENERATE(false, true);
    INFO("without tcx: " << without_tcx);
    const WithoutTcx environment(without_tcx);
    const char *const ways[] = {"out state=syn", "in state=synack", "out", "in"};
    Scene scene;
    for (const std::string way : ways) {
        INFO(way);
        const std::string direction = way.substr(0, way.find(' '));
        scene.mpsched(fmt::format("rule add dsl {} mp_capable refuse rport={}{}", direction,
                                  scene.server.port(), way.substr(direction.size())));
        const auto before = scene.count(Side::b, "MPTcpExtMPCapableSYNRX");
        check_content(scene.run(scene.server), true);
        check_content(scene.run(scene.server, 5, Direction::download), true);
        check_clean(scene.run(scene.other));
        CHECK(scene.hits(0) == 10);
        // Of a SYN that was let through, the server has seen the option; the client has not seen its answer.
        CHECK(scene.count(Side::b, "MPTcpExtMPCapableSYNRX") - before == (direction == "out" ? 5 : 15));
        scene.mpsched("rule del 1");
    }
    CHECK(nothing_left(scene.network.a(), "dsl"));
    check_clean(scene.run(scene.server));
}

TEST_CASE("a join that is neutralised is no subflow, and the connection goes on without it",
          "[e2e][options]") {
    const Joins joins = GENERATE(Joins::client_subflow, Joins::server_signal);
    Scene scene(two_paths(joins));
    for (const char *rule : {"lte out mp_join neutralise", "lte in mp_join neutralise"}) {
        INFO(rule);
        const auto refused = scene.count(Side::b, "MPTcpExtMPJoinNoTokenFound");
        const auto joined = scene.count(Side::b, "MPTcpExtMPJoinAckRx");
        scene.mpsched(fmt::format("rule add {}", rule));
        const auto result = scene.run(scene.server);
        check_clean(result);
        for (const auto &one : result.connections) {
            CHECK(one.bytes == some_bytes);
        }
        CHECK(scene.hits(0) == 5);
        CHECK(scene.count(Side::b, "MPTcpExtMPJoinAckRx") == joined);
        // A SYN that leaves is a join of a connection that there is not; a SYN/ACK that arrives has no option.
        if (std::string_view(rule).find("out") != std::string_view::npos) {
            CHECK(scene.count(Side::b, "MPTcpExtMPJoinNoTokenFound") - refused == 5);
        }
        scene.mpsched("rule del 1");
    }
    // No application has seen a connection that is none.
    CHECK(scene.server.finished(10).size() == 10);
    CHECK(scene.run(scene.server).min_subflows() == 2);
}

TEST_CASE("no more joins of a connection than a rule allows, and every connection has its own",
          "[e2e][options]") {
    NetworkSpec spec = two_paths();
    spec.paths.push_back({.name = "sat", .rate_mbit = 100});
    Scene scene(spec);
    REQUIRE(scene.run(scene.server).min_subflows() == 3);
    const char *const device[] = {"lte", "sat"};
    const unsigned allowed = GENERATE(0U, 1U);
    for (const char *one : device)
        scene.mpsched(fmt::format("rule add {} out mp_join neutralise above={}", one, allowed));
    const auto joined = scene.count(Side::b, "MPTcpExtMPJoinAckRx");
    const auto result = scene.run(scene.server);
    check_clean(result);
    for (const auto &one : result.connections)
        CHECK(one.max_subflows == 1 + allowed);
    CHECK(scene.count(Side::b, "MPTcpExtMPJoinAckRx") - joined == 5 * allowed);
    CHECK(scene.hits(0) + scene.hits(1) == 5 * (2 - allowed));
}

TEST_CASE("the backup bit of joins is what a rule says, for both ends", "[e2e][options]") {
    Scene scene;
    scene.mpsched("rule add lte out mp_join set-backup");
    auto transfer = upload(scene.network, scene.server, {.bytes = 0});
    REQUIRE(transfer.wait_for_subflows(2));
    CHECK(backups(scene.network.b()) == 1); // what A asked for, as far as B knows
    CHECK(backups(scene.network.a()) == 0);
    transfer.stop();
    check_clean(transfer.wait());

    scene.mpsched("rule add lte in mp_join set-backup state=synack");
    auto second = upload(scene.network, scene.server, {.bytes = 0});
    REQUIRE(second.wait_for_subflows(2));
    CHECK(backups(scene.network.a()) == 1); // what B seems to have asked for: A sends nothing over lte
    Meter meter(scene.network.b(), scene.network.devices());
    const Window window = meter.over(500ms);
    INFO(window.text());
    CHECK(window.share[1] < .05);
    second.stop();
    check_clean(second.wait());
    CHECK(scene.hits(0) == 2);
    CHECK(scene.hits(1) == 1);
}

TEST_CASE("an address that is hidden is not joined, and others are", "[e2e][options]") {
    NetworkSpec spec = two_paths(Joins::server_signal);
    Scene scene(spec);
    scene.mpsched(
        fmt::format("rule add dsl in add_addr neutralise address={}", scene.network.address(Side::b, 1)));
    const auto heard = scene.count(Side::a, "MPTcpExtAddAddr");
    const auto result = scene.run(scene.server);
    check_clean(result);
    CHECK(scene.count(Side::a, "MPTcpExtAddAddr") == heard);
    CHECK(scene.hits(0) >= 5);
    for (const auto &one : result.connections)
        CHECK(one.max_subflows == 1);
    // One of another prefix is heard.
    scene.mpsched("rule del 1");
    scene.mpsched("rule add dsl in add_addr neutralise address=192.0.2.0/24");
    CHECK(scene.run(scene.server).min_subflows() == 2);
}

TEST_CASE("with each rule a hundred connections complete, and those fall back that are to",
          "[e2e][options]") {
    const Joins joins = GENERATE(Joins::client_subflow, Joins::server_signal);
    Scene scene(two_paths(joins));
    for (const std::string rule :
         {"mp_capable refuse", "mp_capable allow", "mp_join neutralise", "mp_join neutralise above=0",
          "mp_join set-backup", "mp_join clear-backup", "add_addr neutralise", "remove_addr neutralise",
          "mp_prio neutralise", "mp_prio set-backup", "mp_prio clear-backup", "mp_tcprst neutralise",
          "dss allow", "mp_fail allow", "mp_fastclose allow"}) {
        for (const char *direction : {"in", "out"}) {
            INFO(direction << " " << rule);
            for (const char *device : {"dsl", "lte"})
                scene.mpsched(fmt::format("rule add {} {} {}", device, direction, rule));
            const TransferSpec spec{.connections = 100, .bytes = 20'000};
            const auto result = must(run_transfer(scene.network, scene.server, spec));
            CHECK(result.connections.size() == 100);
            check_content(result, rule == "mp_capable refuse");
            scene.mpsched("rule del --all");
        }
    }
}

TEST_CASE("rules that come and go under a living connection do it no harm", "[e2e][options]") {
    const bool without_tcx = GENERATE(false, true);
    INFO("without tcx: " << without_tcx);
    const WithoutTcx environment(without_tcx);
    Scene scene;
    const Health health(scene.network.a(), scene.network.b());
    scene.mpsched("rule add dsl in dss allow");
    auto up = upload(scene.network, scene.server, {.connections = 3});
    auto down = upload(scene.network, scene.server, {.direction = Direction::download, .connections = 3});
    for (int i = 0; i < 4; i++) {
        for (const char *rule :
             {"dsl out mp_capable refuse", "dsl in mp_capable refuse", "lte out mp_join neutralise",
              "lte in mp_join neutralise", "dsl in add_addr neutralise", "dsl out remove_addr neutralise",
              "lte in mp_prio neutralise", "lte out mp_prio set-backup", "lte in mp_tcprst neutralise"})
            if (i % 2 == 0)
                scene.mpsched(fmt::format("rule add {}", rule));
        if (i % 2 == 1)
            for (int k = 0; k < 9; k++)
                scene.mpsched("rule del 2");
    }
    CHECK(scene.hits(0, "matched") > 100);
    CHECK(scene.hits(0) == 0);
    for (Transfer *one : {&up, &down}) {
        one->stop();
        check_clean(one->wait());
    }
    health.check();
    scene.mpsched("rule del --all");
    for (const char *device : {"dsl", "lte"})
        CHECK(nothing_left(scene.network.a(), device));
    CHECK_FALSE(scene.mpsched.json("status")["installed"].get<bool>());
}

TEST_CASE("what the data path tells by MP_PRIO is no rule's business", "[e2e][options]") {
    const bool without_tcx = GENERATE(false, true);
    INFO("without tcx: " << without_tcx);
    const WithoutTcx environment(without_tcx);
    Scene scene;
    // The rules are there first, so that the data path's programs come later.
    scene.mpsched("rule add lte in mp_prio neutralise");
    scene.mpsched("rule add lte out mp_prio neutralise");
    Attachment attachment(scene.network.a(), scene.network.devices(), "tc");
    scene.mpsched("path lte priority=1");
    scene.mpsched("use active-standby");
    auto transfer = upload(scene.network, scene.server, {.bytes = 0});
    REQUIRE(transfer.wait_for_subflows(2));
    CHECK(wait_until([&] { return backups(scene.network.a()) == 1; }, 3000ms) >= 0);
    const auto heard = mp_prio_received(scene.network.a());
    transfer.stop();
    check_clean(transfer.wait());
    CHECK(heard > 0);
    CHECK(scene.hits(0) == 0);
    attachment.detach();
    CHECK(scene.mpsched.json("rule list").empty());
    CHECK(nothing_left(scene.network.a(), "lte"));
}

TEST_CASE("a rule that would come too late is refused, and one without its interface waits for it",
          "[e2e][options]") {
    Scene scene;
    const Attachment attachment(scene.network.a(), {"dsl"}, "native");
    const auto refused = scene.mpsched.try_run("rule add dsl in mp_prio neutralise");
    CHECK(refused.exit_code == 3);
    CHECK(refused.err.find("--mode tc") != std::string::npos);
    CHECK(scene.mpsched.json("rule list").empty());
    CHECK(scene.mpsched("rule add later0 in mp_join neutralise").err.find("waits for it") !=
          std::string::npos);
    must(scene.network.a().ip("link add later0 type veth peer name later1"));
    scene.mpsched("repair");
    CHECK(scene.mpsched.json("rule list")[0]["problem"].is_null());
    must(scene.network.a().ip("link del later0"));
    CHECK(scene.mpsched.json("rule list")[0]["problem"].is_string());
}

TEST_CASE("a file's rules take the place of all others, and one with a mistake changes nothing",
          "[e2e][options]") {
    Scene scene;
    const TemporaryFolder folder;
    const auto apply = [&](const std::string &rules) {
        std::ofstream(folder / "rules.toml") << "version = 1\n" + rules;
        std::filesystem::permissions(folder / "rules.toml", std::filesystem::perms(0644));
        return scene.mpsched.try_run("rule apply " + (folder / "rules.toml"));
    };
    const std::string refuse =
        fmt::format("[[option_rule]]\ninterface = \"dsl\"\ndirection = \"out\"\noption = \"mp_capable\"\n"
                    "action = \"refuse\"\nrport = {}\n",
                    scene.server.port());
    const std::string hide =
        "[[option_rule]]\ninterface = \"lte\"\ndirection = \"in\"\noption = \"add_addr\"\n"
        "action = \"neutralise\"\naddress = \"10.0.0.0/8\"\n";
    scene.mpsched("rule add lte out mp_join neutralise");
    REQUIRE(apply(refuse + hide).ok());
    REQUIRE(scene.mpsched.json("rule list").size() == 2);
    check_content(scene.run(scene.server), true);
    check_clean(scene.run(scene.other));
    CHECK(scene.run(scene.other).min_subflows() == 2); // the join rule is gone
    CHECK(scene.hits(0) == 5);

    const auto wrong = apply(hide + "[[option_rule]]\ninterface = \"dsl\"\n");
    CHECK(wrong.exit_code == 2);
    CHECK(wrong.err.find("rules.toml:8:1: ") != std::string::npos);
    CHECK(scene.mpsched.json("rule list").size() == 2);
    CHECK(scene.hits(0) == 5); // not even the counter
    // What stays while others come and go keeps its counter, at another place.
    REQUIRE(apply(hide + refuse).ok());
    CHECK(scene.hits(1) == 5);
    REQUIRE(apply("").ok());
    CHECK(scene.mpsched.json("rule list").empty());
    CHECK(nothing_left(scene.network.a(), "dsl"));
}
