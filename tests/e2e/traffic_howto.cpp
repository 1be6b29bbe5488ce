// SPDX-License-Identifier: MIT
//
// The files of docs/how-to, as they stand there, on a router between two hosts that know nothing of mpsched. Each page tells what comes out here.
#include <functional>
#include <sstream>

#include "gateway_service.hpp"

using namespace mps::e2e;

namespace {

using Changes = std::vector<std::pair<std::string, std::string>>;

// The page's file, with the names that interfaces have here, and with what else a test cannot wait for.
std::string settings_of(const std::string &page, const Changes &changes) {
    std::ifstream file(MPS_SOURCE_DIR "/docs/how-to/" + page);
    std::ostringstream read;
    read << file.rdbuf();
    const std::string text = read.str(), opening = "```toml\n";
    const auto begin = text.find(opening), end = text.find("```", begin + opening.size());
    REQUIRE(begin != std::string::npos);
    REQUIRE(end != std::string::npos);
    std::string settings = text.substr(begin + opening.size(), end - begin - opening.size());
    for (const auto &[from, to] : changes) {
        INFO(from);
        REQUIRE(settings.find(from) != std::string::npos);
        for (auto at = settings.find(from); at != std::string::npos; at = settings.find(from, at + to.size()))
            settings.replace(at, from.size(), to);
    }
    return settings;
}

const Changes dsl_and_lte{{"\"dsl\"", "\"up0\""}, {"\"lte\"", "\"up1\""}};

// A stretch of traffic, once it is as it should be.
Shares settled(Meters &meters, const char *what, const std::function<bool(const Shares &)> &suffices) {
    const Shares seen = undisturbed([&] { return meters.over(500ms); }, suffices, 20);
    report(fmt::format("{}: {}", what, seen.text()));
    return seen;
}

bool fills_both(const Window &way) {
    return way.share[0] > 0.3 && way.share[1] > 0.3 && way.total_mbit > 1.3 * path_mbit;
}

// Requests of one connection after the other, with little to carry.
Transfer browse(const Gateway &gateway) {
    auto transfer = gateway.network.start(
        gateway.server,
        {.direction = Direction::requests, .request_bytes = 300, .response_bytes = 3000, .think_time = 3ms});
    REQUIRE(transfer.wait_for_subflows(2));
    return transfer;
}

void finish(Transfer &transfer) {
    transfer.stop();
    check_clean(transfer.wait());
}

// One direction after the other.
void check_bulk_fills_both(const Gateway &gateway, Meters &meters) {
    for (const Direction direction : {Direction::upload, Direction::download}) {
        const bool up = direction == Direction::upload;
        auto bulk = gateway.network.start(gateway.server, {.direction = direction});
        REQUIRE(bulk.wait_for_subflows(2));
        const auto suffices = [&](const Shares &one) { return fills_both(up ? one.up : one.down); };
        CHECK(suffices(settled(meters, up ? "an upload" : "a download", suffices)));
        finish(bulk);
    }
}

bool on_first(const Shares &one) { return one.on(0, 0.1); }
bool on_second(const Shares &one) { return one.on(1, 0.1); }

} // namespace

TEST_CASE("how-to: the landline first, then LTE", "[e2e][gateway][howto]") {
    Gateway gateway(Family::ipv4);
    Service service(gateway, settings_of("landline-first.md", dsl_and_lte));
    Meters meters(gateway);
    auto light = browse(gateway);
    CHECK(on_first(settled(meters, "light traffic", on_first)));
    finish(light);
    check_bulk_fills_both(gateway, meters);
    service.end();
    gateway.check_hosts();
}

TEST_CASE("how-to: two providers, one with a quota", "[e2e][gateway][howto]") {
    Gateway gateway(Family::ipv4);
    Changes changes = dsl_and_lte;
    changes.emplace_back("\"50GB\"", "\"3MB\"");
    Service service(gateway, settings_of("two-providers-quota.md", changes));
    const auto used = [&] { return gateway.mpsched.json("path up1").at("quota_used_bytes").get<double>(); };
    Meters meters(gateway);
    auto bulk = gateway.network.start(gateway.server, {.direction = Direction::download});
    REQUIRE(bulk.wait_for_subflows(2));
    // It is left before the last burst that might be too much.
    CHECK(wait_until([&] { return used() >= 2.4e6; }, 30s, 50ms) >= 0);
    CHECK(on_first(settled(meters, "behind the quota", on_first)));
    const double at_the_end = used();
    report(fmt::format("used {:.2f} MB of 3", at_the_end / 1e6));
    // What a push hands out between two decisions, and what waits in front of the uplink already.
    CHECK(at_the_end < 3e6 * 1.2);
    finish(bulk);
    // The same file after a reboot: the count goes on.
    service.end();
    gateway.mpsched("detach --all");
    service.start();
    CHECK(wait_until([&] { return used() >= at_the_end; }, 10s, 50ms) >= 0);
    auto again = gateway.network.start(gateway.server, {.direction = Direction::download});
    REQUIRE(again.wait_for_subflows(2));
    CHECK(on_first(settled(meters, "after a start", on_first)));
    finish(again);
    service.end();
    gateway.check_hosts();
}

TEST_CASE("how-to: an office stays connected when its line fails", "[e2e][gateway][howto]") {
    const auto cut = std::make_shared<std::atomic<bool>>(false);
    Gateway gateway({.mbit = path_mbit, .uplinks = {Kind::tun, Kind::tun}, .cut = cut});
    Service service(gateway, settings_of("office-failover.md", dsl_and_lte));
    Meters meters(gateway);
    auto upload = gateway.network.start(gateway.server, {.direction = Direction::upload});
    REQUIRE(upload.wait_for_subflows(2));
    const auto carried_by = [&](std::size_t uplink) {
        return [uplink](const Shares &one) {
            return one.up.share[1 - uplink] < 0.1 && one.up.total_mbit > 0.7 * path_mbit;
        };
    };
    CHECK(carried_by(0)(settled(meters, "the line works", carried_by(0))));
    *cut = true;
    const auto told = [&] {
        return !kernel_backup(gateway.network.client, gateway.network.server_address(1)) &&
               kernel_backup(gateway.network.client, gateway.network.server_address(0));
    };
    const double after = wait_until(told, 10s, 5ms);
    report(fmt::format("the client was told {:.0f} ms after the line had gone silent", after * 1000));
    CHECK(after >= 0);
    CHECK(carried_by(1)(settled(meters, "the line is silent", carried_by(1))));
    *cut = false;
    CHECK(carried_by(0)(settled(meters, "the line is back", carried_by(0))));
    finish(upload);
    service.end();
    gateway.check_hosts(false);
}

TEST_CASE("how-to: connections of others over whatever is quick and has room", "[e2e][gateway][howto]") {
    Gateway gateway({.mbit = path_mbit, .uplinks = {Kind::tun, Kind::tun}, .delays = {60ms, 2ms}});
    Service service(gateway, settings_of("load-aware.md", dsl_and_lte));
    Meters meters(gateway);
    auto light = browse(gateway);
    CHECK(on_second(settled(meters, "light traffic", on_second)));
    finish(light);
    check_bulk_fills_both(gateway, meters);
    service.end();
    gateway.check_hosts();
}
