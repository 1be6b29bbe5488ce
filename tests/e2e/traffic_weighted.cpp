// SPDX-License-Identifier: MIT
//
// weighted: bytes in the ratio of the weights, and as much of them as the weights allow.
#include <algorithm>
#include <cmath>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double share_tolerance = 0.03;
constexpr double throughput_floor = 0.95;

// More addresses of host B on the first path, each of which host A is told and makes one more subflow to.
void signal_more_addresses(const Network &network, int count) {
    const auto address = network.address(Side::b, 0);
    const auto dot = address.rfind('.');
    for (int i = 1; i <= count; ++i) {
        const auto more = address.substr(0, dot + 1) + std::to_string(std::stoi(address.substr(dot + 1)) + i);
        must(network.b().ip(fmt::format("addr add {}/28 dev {}", more, network.devices()[0])));
        must(network.b().ip(fmt::format("mptcp endpoint add {} signal", more)));
    }
}

// One transfer whose weights change while it runs; the shares are judged by what host B's devices received. The first path
// has `more_subflows` beside its one.
void check_weights(const NetworkSpec &spec, const char *mode,
                   const std::vector<std::vector<int>> &all_weights, int more_subflows = 0) {
    const auto network = must(Network::create(spec));
    const auto server = serve(network);
    const auto alone = single_path_goodput(network, server);
    signal_more_addresses(network, more_subflows);
    const Health health(network.a(), network.b());
    Attachment attachment(network.a(), network.devices(), mode);
    const Cli mpsched(network.a());
    mpsched("use weighted");

    auto transfer = upload(network, server);
    Meter meter(network.b(), network.devices());
    std::this_thread::sleep_for(path_time(500ms));
    for (const auto &weights : all_weights) {
        int sum = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) {
            mpsched(fmt::format("path {} weight={}", network.devices()[i], weights[i]));
            sum += weights[i];
        }
        // The goodput of the path that is the first to be full sets the pace.
        double possible = 1e9;
        for (std::size_t i = 0; i < weights.size(); ++i) {
            possible = std::min(possible, alone[i] * sum / weights[i]);
        }
        std::this_thread::sleep_for(path_time(600ms));
        std::vector<double> targets;
        for (const int weight : weights) {
            targets.push_back(static_cast<double>(weight) / sum);
        }
        // Shares hold in the long run: on a busy machine, where the kernel gets to hand out much at once, two seconds
        // may be short, and the stretch they are taken over grows. The throughput is that of the best part.
        struct Stretch {
            std::string line;
            double share_error; ///< greatest over the paths, on the wire and of the payload
            double goodput;     ///< of what is possible
        };
        const auto start = delivered(transfer, network);
        std::vector<double> carried(weights.size());
        const auto stretch = undisturbed(
            [&, best = 0.0]() mutable {
                const auto before = delivered(transfer, network);
                const auto window = meter.over(2s);
                const auto after = delivered(transfer, network);
                for (std::size_t i = 0; i < carried.size(); ++i) {
                    carried[i] += window.mbit[i] * window.seconds;
                }
                const auto wire = ratios(carried);
                const auto payload = shares(start, after);
                best = std::max(best, goodput_mbit(before, after) / possible);
                Stretch seen{{}, 0, best};
                for (std::size_t i = 0; i < targets.size(); ++i) {
                    seen.share_error = std::max({seen.share_error, std::abs(wire[i] - targets[i]),
                                                 std::abs(payload[i] - targets[i])});
                }
                seen.line = fmt::format(
                    "{} {} first {} weights {}: {}; shares {:.3f} off, goodput {:.3f} of {:.1f} possible",
                    mode, spec.family == Family::ipv6 ? "IPv6" : "IPv4", spec.first_path,
                    fmt::join(weights, ":"), window.text(), seen.share_error, seen.goodput, possible);
                report(seen.line);
                return seen;
            },
            [](const Stretch &seen) {
                return seen.share_error <= share_tolerance && seen.goodput >= throughput_floor;
            });
        INFO(stretch.line);
        CHECK(stretch.share_error <= share_tolerance);
        CHECK(stretch.goodput >= throughput_floor);
    }
    CHECK(transfer.sample().at(0).subflows.size() ==
          spec.paths.size() + static_cast<std::size_t>(more_subflows));
    transfer.stop();
    check_clean(transfer.wait());
    health.check();
}

NetworkSpec two_paths(Family family, std::size_t first_path) {
    return {
        .paths = {{.name = "dsl", .rate_mbit = path_rate(50)}, {.name = "lte", .rate_mbit = path_rate(50)}},
        .family = family,
        .first_path = first_path};
}

const std::vector<std::vector<int>> pairs{{1, 1}, {3, 1}, {1, 9}};

} // namespace

// Every mode with both families, and either path first in every family.
TEST_CASE("weights on two paths are kept in mode tc", "[e2e][weighted]") {
    check_weights(two_paths(Family::ipv4, 0), "tc", pairs);
}

TEST_CASE("weights on two IPv6 paths are kept in mode tc", "[e2e][weighted]") {
    check_weights(two_paths(Family::ipv6, 1), "tc", pairs);
}

TEST_CASE("weights on two paths are kept in mode native", "[e2e][weighted]") {
    check_weights(two_paths(Family::ipv4, 1), "native", pairs);
    check_weights(two_paths(Family::ipv6, 0), "native", pairs);
}

TEST_CASE("weights on two paths are kept in mode generic", "[e2e][weighted]") {
    check_weights(two_paths(Family::ipv4, 0), "generic", pairs);
    check_weights(two_paths(Family::ipv6, 1), "generic", pairs);
}

TEST_CASE("weights are those of the paths, however many subflows a path has", "[e2e][weighted]") {
    check_weights(two_paths(Family::ipv4, 0), "tc", {{1, 1}, {1, 3}}, 2);
}

TEST_CASE("what a path carried while it was detached is not made up for", "[e2e][weighted]") {
    const auto network = must(Network::create(two_paths(Family::ipv4, 0)));
    const auto server = serve(network);
    Attachment attachment(network.a(), network.devices(), "tc");
    const Cli mpsched(network.a());
    mpsched("path dsl weight=3");
    mpsched("use weighted");

    auto transfer = upload(network, server);
    Meter meter(network.b(), network.devices());
    std::this_thread::sleep_for(path_time(600ms));
    // Free of its weight, it carries three times its share.
    mpsched("detach lte");
    std::this_thread::sleep_for(path_time(500ms));
    const auto meanwhile = meter.over(path_time(1500ms));
    mpsched("attach lte --mode tc");
    std::this_thread::sleep_for(path_time(300ms));
    const auto after = meter.over(path_time(1s));
    report(fmt::format("detached {}; attached again {}", meanwhile.text(), after.text()));
    CHECK(meanwhile.share[1] > 0.4);
    CHECK(after.share[1] == Catch::Approx(0.25).margin(0.07));
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("weights on three paths are kept in every mode", "[e2e][weighted]") {
    for (std::size_t i = 0; i < std::size(modes); ++i) {
        check_weights({.paths = {{.name = "dsl", .rate_mbit = path_rate(50)},
                                 {.name = "lte", .rate_mbit = path_rate(50)},
                                 {.name = "sat", .rate_mbit = path_rate(50)}},
                       .family = i == 1 ? Family::ipv6 : Family::ipv4,
                       .first_path = i},
                      modes[i], {{1, 1, 2}});
    }
}
