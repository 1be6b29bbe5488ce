// SPDX-License-Identifier: MIT
//
// A connection of which only a part is met on attached interfaces carries at least what the kernel alone would.
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(50);
constexpr double used = 0.8; // of a path's rate

// Both paths are filled, by the peer's byte counters.
void check_both_carry(Meter &meter, const std::string &when) {
    const auto filled = [](const Window &seen) {
        return seen.mbit[0] > used * path_mbit && seen.mbit[1] > used * path_mbit;
    };
    const auto window = undisturbed([&] { return meter.over(700ms); }, filled);
    const auto line = fmt::format("{}: {}", when, window.text());
    report(line);
    INFO(line);
    CHECK(filled(window));
}

// Policies that would rather have lte alone, or what they take for quickest.
const char *choices[] = {"active-standby", "ecf", "auto"};

void check_choices(const Network &network, const std::vector<std::string> &attached,
                   const std::string &mode) {
    const auto server = serve(network);
    const Attachment attachment(network.a(), attached, mode);
    const Cli mpsched(network.a());
    mpsched("path dsl priority=1");
    for (const auto *policy : choices) {
        mpsched(fmt::format("use {}", policy));
        auto transfer = upload(network, server);
        Meter meter(network.b(), {"dsl", "lte"});
        std::this_thread::sleep_for(500ms);
        check_both_carry(meter, fmt::format("{}, {}", mode, policy));
        transfer.stop();
        check_clean(transfer.wait());
    }
}

} // namespace

TEST_CASE("a path that is not attached does not take the attached one out of use", "[e2e]") {
    const auto network = must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = path_mbit}}}));
    check_choices(network, {"dsl"}, "native");
}

TEST_CASE(
    "a path whose packets come back by an interface that is not attached does not take another out of use",
    "[e2e]") {
    const auto network = must(Network::create({.paths = {{.name = "dsl", .rate_mbit = path_mbit},
                                                         {.name = "lte", .rate_mbit = path_mbit},
                                                         {.name = "back", .rate_mbit = path_mbit}},
                                               .joins = Joins::none}));
    const auto on_lte = network.address(Side::a, 1);
    // Without a device, to which its socket would be bound.
    must(network.a().ip(fmt::format("mptcp endpoint add {} subflow", on_lte)));
    must(network.a().ip(fmt::format("mptcp endpoint add {} dev back subflow", network.address(Side::a, 2))));
    must(network.b().ip(fmt::format("route add {} via {} dev back", on_lte, network.address(Side::a, 2))));
    must(network.b().ip(fmt::format("rule add to {} table main pref 1", on_lte)));
    for (const auto *mode : {"tc", "native"})
        check_choices(network, {"dsl", "lte"}, mode);
}
