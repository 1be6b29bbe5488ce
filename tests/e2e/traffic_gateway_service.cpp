// SPDX-License-Identifier: MIT
//
// The role of a gateway as mpsched.toml has it: mpschedd on a router whose uplinks come and go.
#include "gateway_service.hpp"

using namespace mps::e2e;

namespace {

constexpr const char *two_uplinks = R"(version = 1
[default]
policy = "active-standby"
set = { hold_ms = 0 }
[[interface]]
name = "up*"
role = "gateway"
[[interface]]
name = "up1"
priority = 1
)";

// "gateway attached" of an interface; "" if mpsched has nothing to do with it.
std::string place(const Gateway &gateway, const std::string &name) {
    const Json status = gateway.mpsched.json("status");
    for (const Json &one : status.at("interfaces"))
        if (one.at("name") == name)
            return one.at("role").get<std::string>() + " " + one.at("state").get<std::string>() +
                   (one.at("problem").is_null() ? "" : " " + one.at("problem").get<std::string>());
    return "";
}

// Both uplinks carry what passes, then only the first one does.
void check_steered(const Gateway &gateway) {
    constexpr double elsewhere = 0.06;
    BothWays traffic(gateway);
    Meters meters(gateway);
    const Shares seen = undisturbed([&] { return meters.over(700ms); },
                                    [](const Shares &one) { return one.on(0, elsewhere); }, 6);
    report(seen.text());
    CHECK(seen.on(0, elsewhere));
    CHECK(gateway.known() == 2);
    traffic.finish();
}

} // namespace

TEST_CASE("mpschedd attaches a gateway's uplinks as the file says, and again when one comes back",
          "[e2e][gateway][service]") {
    Gateway gateway(Family::ipv4);
    Service service(gateway, two_uplinks);
    CHECK(place(gateway, "up0") == "gateway attached");
    CHECK(place(gateway, "up1") == "gateway attached");
    CHECK(place(gateway, "lan").empty());
    check_steered(gateway);

    // As a modem does; while mpschedd is away, too.
    service.kill();
    gateway.network.remove_uplink(1);
    gateway.network.add_uplink(1);
    service.start();
    CHECK(wait_until([&] { return place(gateway, "up1") == "gateway attached"; }, 10s, 100ms) >= 0);
    gateway.network.remove_uplink(1);
    CHECK(wait_until([&] { return place(gateway, "up1") == "gateway absent"; }, 10s, 100ms) >= 0);
    gateway.network.add_uplink(1);
    CHECK(wait_until([&] { return place(gateway, "up1") == "gateway attached"; }, 10s, 100ms) >= 0);
    check_steered(gateway);
    service.end();
    gateway.check_hosts();
}

TEST_CASE(
    "an uplink of a gateway that goes silent, or loses its carrier, is left at once, and taken up again",
    "[e2e][gateway][service]") {
    const auto cut = std::make_shared<std::atomic<bool>>(false);
    Gateway gateway({.mbit = path_mbit, .uplinks = {Kind::tun, Kind::tun}, .cut = cut});
    Service service(gateway, two_uplinks);
    Meters meters(gateway);
    const auto on = [&](std::size_t uplink, bool down_too) {
        const Shares seen = undisturbed([&] { return meters.over(400ms); },
                                        [&](const Shares &one) {
                                            return one.up.share[1 - uplink] < 0.1 &&
                                                   one.up.total_mbit > 0.7 * path_mbit &&
                                                   (!down_too || (one.down.share[1 - uplink] < 0.1 &&
                                                                  one.down.total_mbit > 0.7 * path_mbit));
                                        },
                                        30);
        report(seen.text());
        CHECK(seen.up.share[1 - uplink] < 0.1);
        CHECK(seen.up.total_mbit > 0.7 * path_mbit);
        if (down_too)
            CHECK(seen.down.share[1 - uplink] < 0.1);
    };
    const auto backup = [&](int uplink) {
        return kernel_backup(gateway.network.client, gateway.network.server_address(uplink));
    };
    auto upload = gateway.network.start(gateway.server, {.direction = Direction::upload});
    REQUIRE(upload.wait_for_subflows(2));
    on(0, false);
    REQUIRE(wait_until([&] { return backup(1) && !backup(0); }, 3s) >= 0);
    *cut = true;
    const double heard = wait_until([&] { return !backup(1) && backup(0); }, 3s, 5ms);
    report(fmt::format("the client was told {:.0f} ms after the uplink had gone silent", heard * 1000));
    CHECK(heard >= 0);
    on(1, false);
    *cut = false;
    on(0, false);

    auto download = gateway.network.start(gateway.server, {.direction = Direction::download});
    REQUIRE(download.wait_for_subflows(2));
    on(0, true);
    must(gateway.network.gateway.ip("link set up0 carrier off"));
    const double told = wait_until([&] { return !backup(1) && backup(0); }, 3s, 5ms);
    report(fmt::format("and {:.0f} ms after it had lost its carrier", told * 1000));
    CHECK(told >= 0);
    on(1, true);
    must(gateway.network.gateway.ip("link set up0 carrier on"));
    on(0, true);
    for (Transfer *one : {&upload, &download}) {
        one->stop();
        check_clean(one->wait());
    }
    service.end();
    gateway.check_hosts(false);
}

TEST_CASE("what a gateway's uplink has carried of its quota outlives mpschedd and the installation",
          "[e2e][gateway][service]") {
    Gateway gateway(Family::ipv4, 0);
    Service service(gateway, std::string(two_uplinks) + "quota = \"1GB\"\nquota_period = \"month\"\n");
    const auto used = [&] {
        return gateway.mpsched.json("path up1").at("quota_used_bytes").get<std::uint64_t>();
    };
    gateway.mpsched("path up0 priority=2");
    const auto transfer = [&](Direction direction) {
        auto one = gateway.network.start(gateway.server, {.direction = direction, .bytes = 10'000'000});
        check_clean(one.wait());
    };
    transfer(Direction::upload);
    const std::uint64_t upload = used();
    CHECK(upload > 2'000'000);
    transfer(Direction::download);
    const std::uint64_t both = used();
    CHECK(both > upload + 2'000'000);
    // It writes down what there is when it ends; then a machine that starts has nothing of mpsched.
    service.end();
    gateway.mpsched("detach --all");
    service.start();
    CHECK(place(gateway, "up1") == "gateway attached");
    CHECK(used() == both);
    transfer(Direction::upload);
    CHECK(used() > both);
    service.end();
}

TEST_CASE("the role in the file is exported, changed by a reload, and kept by --persist",
          "[e2e][gateway][service]") {
    Gateway gateway(Family::ipv4, 0);
    Service service(gateway, two_uplinks);
    const auto same = [&] {
        return Json::parse(service.run({"config", "diff", service.settings(), "--json=2"}).out)["same"] ==
               true;
    };
    CHECK(same());
    const auto exported = service.run({"config", "export"}).out;
    INFO(exported);
    service.write(exported);
    CHECK(service.run({"config", "check", service.settings()}).exit_code == 0);
    CHECK(same());

    // The last one to leave a role takes all of the installation with it, and all of it comes back.
    service.write(R"(version = 1
[default]
policy = "weighted"
[[interface]]
name = ["up0", "up1"]
weight = 5
[[rule]]
for = "rport=9"
policy = "active-standby"
)");
    CHECK_FALSE(same());
    service.ok({"reload"});
    CHECK(place(gateway, "up0") == "host attached");
    CHECK(place(gateway, "up1") == "host attached");
    CHECK(same());
    for (const auto &[object, state] : service.state()) {
        INFO(object);
        CHECK(state == "in force");
    }

    service.ok({"detach", "up1"});
    service.ok({"attach", "--role", "gateway", "up1", "--persist"});
    CHECK(place(gateway, "up1") == "gateway attached");
    CHECK(same());
    service.ok({"reload"});
    CHECK(place(gateway, "up1") == "gateway attached");
    service.end();
}
