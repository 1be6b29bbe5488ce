// SPDX-License-Identifier: MIT
//
// overflow: the standby path stays idle while the preferred one suffices and joins when it does not.
// round-robin: equal turns. Objects built for an older policy ABI.
#include <cmath>
#include <fstream>
#include <numeric>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "abi_4_0_roomiest.embed.h"
#include "abi_4_0_shares.embed.h"
#include "mps_large_policy.embed.h"
#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double path_mbit = 30;
constexpr double standby_share = 0.02;
constexpr double aggregated = 0.9;
constexpr double turn_tolerance = 0.05;
constexpr double flip_share = 0.05;

NetworkSpec two_paths(Family family, std::size_t first_path, double lte_mbit = path_mbit) {
    return {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = lte_mbit}},
            .family = family,
            .first_path = first_path};
}

// Bursts of 30 KB and pauses: about a third of the preferred path, though each burst fills it.
TransferSpec modest_stream() {
    return {
        .direction = Direction::requests, .request_bytes = 30'000, .response_bytes = 20, .think_time = 15ms};
}

// Changes of the kernel's bits, and the packets that a policy saw.
struct Effort {
    double flips = 0;
    double decisions = 0;
};
Effort effort(const Cli &mpsched) {
    const auto stats = mpsched.json("stats");
    const auto value = [&](const char *name) { return stats.at(name).get<double>(); };
    return {value("inserted") + value("wake_landed"), value("decided")};
}

// What was delivered in a stretch of steady state, and how often the policy changed its mind.
struct Stretch {
    double goodput;
    std::vector<double> share;
    double flips_per_ack;
};
Stretch watch(const char *what, const Cli &mpsched, const Network &network, const Transfer &transfer,
              std::chrono::milliseconds duration) {
    const auto effort_before = effort(mpsched);
    const auto before = delivered(transfer, network);
    std::this_thread::sleep_for(duration);
    const auto after = delivered(transfer, network);
    const auto effort_after = effort(mpsched);
    Stretch stretch{goodput_mbit(before, after), shares(before, after),
                    (effort_after.flips - effort_before.flips) /
                        (effort_after.decisions - effort_before.decisions)};
    report(fmt::format("{}: {:.1f} Mbit/s, shares {:.3f}, {:.2f} % flips in {} decisions", what,
                       stretch.goodput, fmt::join(stretch.share, " : "), stretch.flips_per_ack * 100,
                       effort_after.decisions - effort_before.decisions));
    return stretch;
}

struct Overflowing {
    Network network;
    Server server;
    Health health;
    Attachment attachment;
    Cli mpsched;

    Overflowing(Family family, std::size_t first_path, const char *mode)
        : network(must(Network::create(two_paths(family, first_path)))),
          server(serve(network)),
          health(network.a(), network.b()),
          attachment(network.a(), network.devices(), mode),
          mpsched(network.a()) {
        mpsched("path lte priority=1");
        mpsched("use overflow");
    }

    void check_modest_stream() const {
        auto stream = upload(network, server, modest_stream());
        std::this_thread::sleep_for(500ms);
        const double goodput = undisturbed(
            [&] {
                const auto seen =
                    watch("a stream below the preferred rate", mpsched, network, stream, 1500ms);
                CHECK(seen.share[1] < standby_share);
                CHECK(seen.flips_per_ack < flip_share);
                return seen.goodput;
            },
            [](double seen) { return seen > path_mbit / 5; });
        CHECK(goodput > path_mbit / 5);
        stream.stop();
        check_clean(stream.wait());
    }
};

} // namespace

TEST_CASE("overflow leaves the standby path idle until the preferred one is full", "[e2e][overflow]") {
    const Overflowing run(Family::ipv4, 0, "tc");
    const auto alone = single_path_goodput(run.network, run.server);
    const double sum = std::accumulate(alone.begin(), alone.end(), 0.0);

    run.check_modest_stream();
    auto bulk = upload(run.network, run.server);
    std::this_thread::sleep_for(1s);
    const double goodput = undisturbed(
        [&] {
            const auto seen = watch("bulk", run.mpsched, run.network, bulk, 2s);
            CHECK(seen.flips_per_ack < flip_share);
            return seen.goodput;
        },
        [&](double seen) { return seen >= aggregated * sum; });
    INFO("sum of the paths: " << sum);
    CHECK(goodput >= aggregated * sum);
    bulk.stop();
    check_clean(bulk.wait());
    run.health.check();
}

TEST_CASE("overflow leaves the standby path although the first subflow is there", "[e2e][overflow]") {
    const Overflowing run(Family::ipv6, 1, "native");

    run.check_modest_stream();
    run.health.check();
}

TEST_CASE("round-robin gives equal turns to paths of different rates", "[e2e][round-robin]") {
    for (const std::size_t first_path : {0, 1}) {
        const auto network = must(Network::create(two_paths(Family::ipv4, first_path, path_mbit / 2)));
        const auto server = serve(network);
        const Health health(network.a(), network.b());
        Attachment attachment(network.a(), network.devices(), first_path ? "tc" : "native");
        const Cli mpsched(network.a());
        // Half a megabyte takes the slower path longer than the patience it has by default, and then it loses turns.
        mpsched("use round-robin -s patience_ms=5000");
        auto transfer = upload(network, server);
        std::this_thread::sleep_for(1500ms);
        // The slower path sets the pace. Turns are equal in the long run: the kernel may hand out half a megabyte in
        // one, so a stretch that does not show it is followed by a longer one.
        const auto equal = [](const Stretch &turns) {
            return std::abs(turns.share[0] - 0.5) <= turn_tolerance && turns.goodput > path_mbit * 0.75;
        };
        const auto turns = undisturbed(
            [&, length = 0]() mutable {
                const auto seen = watch("round-robin", mpsched, network, transfer, 1500ms * ++length);
                CHECK(seen.flips_per_ack < flip_share);
                return seen;
            },
            equal);
        CHECK(turns.share[0] == Approx(0.5).margin(turn_tolerance));
        CHECK(turns.goodput > path_mbit * 0.75);
        CHECK(turns.goodput < path_mbit * 1.1);
        transfer.stop();
        check_clean(transfer.wait());
        health.check();
    }
}

// A receiver of data has nothing to decide, and most of its packets must not pay for a decision, whatever the policy asks for.
TEST_CASE("under every built-in policy four of five packets of a download are left alone", "[e2e][idle]") {
    const auto network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    const auto server = serve(network);
    const Health health(network.a(), network.b());

    for (const char *mode : {"native", "tc"}) {
        Attachment attachment(network.a(), network.devices(), mode);
        const Cli mpsched(network.a());
        // What `quota` goes by is counted, too.
        mpsched("path lte priority=1 quota=10G");
        for (const Json &policy : mpsched.json("policy list")) {
            const auto name = policy.at("name").get<std::string>();
            if (!policy.at("unsupported").is_null() || (mode == std::string_view("tc") && name != "auto")) {
                continue;
            }
            mpsched("use " + name);
            const auto share_left_alone = [&] {
                const auto before = mpsched.json("stats");
                auto transfer =
                    upload(network, server, {.direction = Direction::download, .bytes = 20'000'000});
                check_clean(transfer.wait());
                const auto after = mpsched.json("stats");
                const auto more = [&](const char *what) {
                    return after.at(what).get<double>() - before.at(what).get<double>();
                };
                report(fmt::format("{}, {}: {} of {} packets left alone, {} decisions", name, mode,
                                   more("idle"), more("seen"), more("decided")));
                return more("idle") / more("seen");
            };
            INFO(name << ", " << mode);
            CHECK(undisturbed(share_left_alone, [](double share) { return share >= 0.8; }) >= 0.8);
        }
        mpsched("path lte --forget");
    }
    health.check();
}

namespace {

std::string written(const TemporaryFolder &folder, const char *name, const unsigned char *begin,
                    const unsigned char *end) {
    std::string file = folder / name;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char *>(begin), static_cast<std::streamsize>(end - begin));
    return file;
}

} // namespace

TEST_CASE("what a policy asks for reaches it, and what it says reaches conns", "[e2e][abi]") {
    const TemporaryFolder folder;
    const auto large = written(folder, "large.bpf.o", mps_large_policy_begin, mps_large_policy_end);
    const auto network = must(Network::create(two_paths(Family::ipv6, 0)));
    const auto server = serve(network);
    Attachment attachment(network.a(), network.devices(), "tc");
    const Cli mpsched(network.a());
    mpsched("use " + large);
    auto transfer = upload(network, server);
    std::this_thread::sleep_for(500ms);
    const auto subflows = mpsched.json("conns").at(0).at("subflows");
    REQUIRE(subflows.size() == 2);
    for (const auto &subflow : subflows) {
        const auto &reason = subflow.at("reason");
        INFO(reason.dump());
        CHECK(reason.at("name") == "later");
        CHECK(reason.at("text").get<std::string>().contains(" later than "));
        CHECK((reason.at("than") == 1 || reason.at("than") == 2));
        // The number is what is known of the subflow: received, sent, RTT, rate, congestion control.
        CHECK((reason.at("number").get<int>() & 0x3b) == 0x3b);
    }
    CHECK(mpsched("conns").out.contains(" later than "));
    mpsched("use default");
    std::this_thread::sleep_for(300ms);
    for (const Json conns = mpsched.json("conns"); const auto &subflow : conns.at(0).at("subflows"))
        CHECK(subflow.at("reason").is_null());
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("objects built for policy ABI 4.0 load and steer", "[e2e][abi]") {
    const TemporaryFolder folder;
    const auto shares = written(folder, "shares.bpf.o", abi_4_0_shares_begin, abi_4_0_shares_end);
    const auto roomiest = written(folder, "roomiest.bpf.o", abi_4_0_roomiest_begin, abi_4_0_roomiest_end);

    for (const char *mode : {"tc", "native"}) {
        const auto network = must(Network::create(two_paths(Family::ipv4, 0)));
        const auto server = serve(network);
        const Health health(network.a(), network.b());
        Attachment attachment(network.a(), network.devices(), mode);
        const Cli mpsched(network.a());
        mpsched("path dsl weight=3");
        mpsched("path lte cost=500");
        mpsched("use " + shares);
        auto transfer = upload(network, server);
        std::this_thread::sleep_for(500ms);
        const auto by_weight =
            undisturbed([&] { return watch("shares", mpsched, network, transfer, 1s); },
                        [](const Stretch &seen) { return std::abs(seen.share[0] - 0.75) < 0.05; });
        CHECK(by_weight.share[0] == Approx(0.75).margin(0.05));

        mpsched("use " + roomiest + " -s max_cost=200");
        std::this_thread::sleep_for(500ms);
        const auto by_cost = undisturbed([&] { return watch("roomiest", mpsched, network, transfer, 1s); },
                                         [](const Stretch &seen) { return seen.share[1] < standby_share; });
        CHECK(by_cost.share[1] < standby_share);
        CHECK(by_cost.goodput > path_mbit * 0.75);
        transfer.stop();
        check_clean(transfer.wait());
        health.check();
    }
}
