// SPDX-License-Identifier: MIT
//
// smallest-delay: small requests stay on the quickest path, whichever the first subflow took, and bulk uses
// all paths.
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"
#include "traffic_wire.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double path_mbit = 20;
constexpr double aggregated = 0.93;
constexpr double idle = 0.01;
constexpr std::size_t quick = 0;

std::vector<WiredPath> quick_and_slow() {
    return {{.name = "quick", .kind = Kind::tap, .rate_mbit = path_mbit, .delay = 3ms},
            {.name = "slow", .kind = Kind::tap, .rate_mbit = path_mbit, .delay = 15ms}};
}

// What one path delivers, measured by connections that have no other, all at once.
double goodput_of_all(const WiredNetwork &network, const Server &server, std::size_t paths) {
    must(network.a().ip("mptcp limits set subflows 0"));
    std::vector<Transfer> transfers;
    for (std::size_t i = 0; i < paths; ++i) {
        transfers.push_back(
            must(Transfer::start(network.a(), {.address = network.address(Side::b, i),
                                               .port = server.port(),
                                               .local_address = network.address(Side::a, i)})));
    }
    std::this_thread::sleep_for(1500ms);
    std::vector<Delivered> before;
    for (const auto &transfer : transfers) {
        before.push_back(network.delivered(transfer));
    }
    std::this_thread::sleep_for(1500ms);
    double sum = 0;
    for (std::size_t i = 0; i < paths; ++i) {
        sum += goodput_mbit(before[i], network.delivered(transfers[i]));
        transfers[i].stop();
    }
    for (auto &transfer : transfers) {
        check_clean(transfer.wait());
    }
    must(network.a().ip("mptcp limits set subflows 8"));
    return sum;
}

} // namespace

TEST_CASE("smallest-delay keeps small requests on the quicker path", "[e2e][smallest-delay]") {
    for (const std::size_t first_path : {0, 1}) {
        const WiredNetwork network(quick_and_slow());
        const auto server = network.serve();
        Attachment attachment(network.a(), network.devices(), "tc");
        const Cli mpsched(network.a());
        mpsched("use smallest-delay");
        auto transfer = network.start(server,
                                      {.direction = Direction::requests,
                                       .request_bytes = 2000,
                                       .response_bytes = 100,
                                       .think_time = 2ms},
                                      first_path);
        // The first requests tell the delays.
        std::this_thread::sleep_for(1s);
        const auto before = network.delivered(transfer);
        std::this_thread::sleep_for(3s);
        const auto after = network.delivered(transfer);
        const auto share = shares(before, after);
        const auto line =
            fmt::format("requests, first subflow on {}: {:.1f} % of {} bytes on the quick path",
                        network.devices()[first_path], share[quick] * 100, after.total - before.total);
        report(line);
        INFO(line);
        CHECK(after.total - before.total > 50'000);
        CHECK(share[quick] > 1 - idle);
        transfer.stop();
        check_clean(transfer.wait());
    }
}

TEST_CASE("smallest-delay aggregates bulk", "[e2e][smallest-delay]") {
    const WiredNetwork network(quick_and_slow());
    const auto server = network.serve();
    const double sum = goodput_of_all(network, server, 2);
    for (const std::size_t first_path : {0, 1}) {
        Attachment attachment(network.a(), network.devices(), "tc");
        const Cli mpsched(network.a());
        mpsched("use smallest-delay");
        auto transfer = network.start(server, {}, first_path);
        std::this_thread::sleep_for(2s);
        const double goodput = undisturbed(
            [&] {
                const auto before = network.delivered(transfer);
                std::this_thread::sleep_for(3s);
                const double seen = goodput_mbit(before, network.delivered(transfer));
                report(fmt::format("bulk, first subflow on {}: {:.1f} of {:.1f} Mbit/s ({:.3f})",
                                   network.devices()[first_path], seen, sum, seen / sum));
                return seen;
            },
            [&](double seen) { return seen >= aggregated * sum; });
        INFO("bulk, first subflow on " << network.devices()[first_path]);
        CHECK(goodput >= aggregated * sum);
        transfer.stop();
        check_clean(transfer.wait());
    }
}
