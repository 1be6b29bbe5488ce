// SPDX-License-Identifier: MIT
//
// Policies in users' words, and the thresholds of ATSSS steering modes: what they do to traffic, by the kernel's counters of each subflow.
#include <string>
#include <thread>

#include "traffic.hpp"

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle = 0.01;
constexpr double used = 0.3;

struct Scene {
    Network network;
    Server server = serve(network);
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a()};

    explicit Scene(const NetworkSpec &spec) : network(must(Network::create(spec))) {}

    // What went over the second path meanwhile.
    double on_second(const Transfer &transfer, const std::string &when) const {
        std::this_thread::sleep_for(path_time(800ms));
        const Delivered before = delivered(transfer, network);
        std::this_thread::sleep_for(path_time(700ms));
        const Delivered after = delivered(transfer, network);
        REQUIRE(after.total > before.total);
        const double share = shares(before, after)[1];
        report(fmt::format("{}: {:.1f} % on the second path", when, share * 100));
        return share;
    }
    // Of the policy that all connections use.
    Json in_force() const {
        for (const Json &policy : mpsched.json("policy list"))
            if (policy["is_default"] == true)
                return policy;
        FAIL("no policy is the default");
        return {};
    }
};

void finish(Transfer &transfer) {
    transfer.stop();
    check_clean(transfer.wait());
}

} // namespace

TEST_CASE("handover keeps to the preferred path, aggregate fills both, and status knows them by these names",
          "[e2e][presets]") {
    Scene scene(
        {.paths = {{.name = "dsl", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}},
         .congestion_control = "cubic"});
    scene.mpsched("path lte priority=1");
    scene.mpsched("use handover");
    CHECK(scene.in_force()["name"] == "active-standby");
    CHECK(scene.in_force()["preset"] == "handover");
    CHECK(scene.mpsched("status").out.find("active-standby (preset handover)") != std::string::npos);
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.on_second(transfer, "handover") < idle);
    scene.mpsched("use aggregate");
    CHECK(scene.in_force()["preset"] == "aggregate");
    CHECK(scene.on_second(transfer, "aggregate") > used);
    // Parameters of one's own go before the preset's, and what comes of it is none any more.
    scene.mpsched("use aggregate -s calm_ms=7000");
    CHECK(scene.in_force()["params"]["calm_ms"] == 7000);
    CHECK(scene.in_force()["params"]["full_ms"] == 0);
    CHECK(scene.in_force()["preset"] == nullptr);
    finish(transfer);
}

TEST_CASE("interactive takes traffic off a path whose queue makes its delay long", "[e2e][presets]") {
    // The queues are in the network, where they fill.
    Scene scene({.paths = {{.name = "dsl", .rate_mbit = path_rate(20), .queue = 20ms},
                           {.name = "sat", .rate_mbit = path_rate(10), .queue = 300ms}},
                 .shaping = Shaping::middle,
                 .congestion_control = "cubic"});
    scene.mpsched("use default");
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.on_second(transfer, "default") > used / 2);
    scene.mpsched("use interactive");
    CHECK(scene.in_force()["preset"] == "interactive");
    const double left = undisturbed([&] { return scene.on_second(transfer, "interactive"); },
                                    [](double share) { return share < idle; }, 3);
    CHECK(left < idle);
    finish(transfer);
}

TEST_CASE("a path that loses more than max_loss_permille carries nothing while another one keeps within",
          "[e2e][presets]") {
    // BBR fills a queue that is too short for it again and again, and loses what does not fit.
    Scene scene({.paths = {{.name = "dsl", .rate_mbit = path_rate(20), .queue = 1ms},
                           {.name = "lte", .rate_mbit = path_rate(20), .queue = 200ms}},
                 .shaping = Shaping::middle,
                 .congestion_control = "bbr"});
    scene.mpsched("path lte priority=1");
    scene.mpsched("use active-standby");
    auto transfer = upload(scene.network, scene.server);
    CHECK(scene.on_second(transfer, "active-standby") < idle);
    scene.mpsched("set max_loss_permille=10 retry_s=60");
    const auto on_second = [&] { return scene.on_second(transfer, "with max_loss_permille=10"); };
    CHECK(undisturbed(on_second, [](double share) { return share > 1 - idle; }) > 1 - idle);
    // The fault was one.
    double sent = 0, again = 0;
    for (const ConnectionSample &connection : transfer.sample()) {
        for (const SubflowSample &one : connection.subflows) {
            if (scene.network.path_of(one.local_address) != 0)
                continue;
            sent += static_cast<double>(one.bytes_sent);
            again += static_cast<double>(one.bytes_retransmitted);
        }
    }
    report(fmt::format("of dsl {:.1f} % was sent again", again / sent * 100));
    CHECK(again > 0.01 * sent);
    finish(transfer);
}
