// SPDX-License-Identifier: MIT
//
// quota: what the kernel's device counters saw on the metered path stays below what it may carry, with one
// connection and with several, and the transfer completes on the other one.
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double free_mbit = 40;
constexpr double metered_mbit = 40;
constexpr std::uint64_t quota_bytes = 3'000'000;
// A push may hand out this much to one subflow before there is another decision.
constexpr std::uint64_t burst_bytes = 65536;
// Ethernet's share of what a device counts, above the IP packets that a quota counts.
constexpr double link_layer = 1.012;

NetworkSpec paths(std::size_t first_path) {
    return {.paths = {{.name = "free", .rate_mbit = free_mbit}, {.name = "lte", .rate_mbit = metered_mbit}},
            .first_path = first_path};
}

std::uint64_t carried(const Network &network) {
    const auto lte = must(read_counters(network.a())).devices.at("lte");
    return lte.rx_bytes + lte.tx_bytes;
}

// With queues of 50 ms: what the path holds at most when it is full.
std::uint64_t in_the_path() { return static_cast<std::uint64_t>(metered_mbit * 1e6 / 8 * 0.05); }

struct Metered {
    Network network;
    Server server;
    Health health;
    Attachment attachment;
    Cli mpsched;
    std::uint64_t before = 0;
    std::int64_t retransmissions_before = 0;

    explicit Metered(const char *mode, std::size_t first_path = 0)
        : network(must(Network::create(paths(first_path)))),
          server(serve(network)),
          health(network.a(), network.b()),
          attachment(network.a(), network.devices(), mode),
          mpsched(network.a()) {
        mpsched(fmt::format("path lte priority=1 quota={}", quota_bytes));
        mpsched("use quota");
        before = carried(network);
        retransmissions_before = retransmissions();
    }

    std::int64_t retransmissions() const {
        return must(must(read_counters(network.a())).get("TcpRetransSegs"));
    }
    std::uint64_t sent_again() const {
        return static_cast<std::uint64_t>(retransmissions() - retransmissions_before);
    }
    std::uint64_t seen_by_the_kernel() const { return carried(network) - before; }
    Json path() const { return mpsched.json("path lte"); }
    std::uint64_t used() const { return path().at("quota_used_bytes").get<std::uint64_t>(); }

    void check_bound(const char *what, unsigned connections) const {
        const std::uint64_t seen = seen_by_the_kernel(), counted = used();
        const double most = static_cast<double>(quota_bytes + in_the_path() + connections * burst_bytes);
        report(fmt::format("{}: quota {}, counted {}, device {} bytes", what, quota_bytes, counted, seen));
        CHECK(static_cast<double>(seen) <= most * link_layer);
        // It was worth something: the path was used for most of what it may carry.
        CHECK(static_cast<double>(seen) > 0.8 * static_cast<double>(quota_bytes));
        // Counting is not by the policy's wish: it agrees with what the device saw.
        CHECK(static_cast<double>(counted) > 0.95 * static_cast<double>(seen));
        // TCP counts what it sends again, and of that the path's own queue may have dropped the first copy.
        CHECK(static_cast<double>(counted) < 1.1 * static_cast<double>(seen + sent_again() * 1500));
    }
};

} // namespace

TEST_CASE("quota: the metered path carries its quota and no more, and the transfer completes",
          "[e2e][quota]") {
    for (const std::size_t first_path : {0, 1}) {
        const Metered run(first_path ? "tc" : "native", first_path);
        auto transfer = upload(run.network, run.server, {.bytes = 20'000'000});
        const auto result = transfer.wait();
        check_clean(result);
        CHECK(result.bytes() == 20'000'000);
        run.check_bound(first_path ? "first subflow on the metered path" : "one connection", 1);
        run.health.check();
    }
}

TEST_CASE("quota: several connections share one quota", "[e2e][quota]") {
    constexpr unsigned connections = 6;
    const Metered run("tc");
    auto transfer = upload(run.network, run.server, {.connections = connections, .bytes = 4'000'000});
    check_clean(transfer.wait());
    run.check_bound("six connections", connections);
    run.health.check();
}

TEST_CASE("quota: a connection of one subflow counts, too, and what was received", "[e2e][quota]") {
    auto spec = paths(1);
    spec.joins = Joins::none;
    const auto network = must(Network::create(spec));
    const auto server = serve(network);
    Attachment attachment(network.a(), network.devices(), "tc");
    const Cli mpsched(network.a());
    mpsched("path lte quota=100M");
    mpsched("use quota");
    const std::uint64_t before = carried(network);
    // upload() would wait for a second subflow.
    check_clean(must(run_transfer(network, server, {.direction = Direction::download, .bytes = 2'000'000})));
    const double seen = static_cast<double>(carried(network) - before);
    const double used = mpsched.json("path lte").at("quota_used_bytes").get<double>();
    report(fmt::format("one subflow, download: counted {}, device {} bytes", used, seen));
    CHECK(used > 0.95 * seen);
    CHECK(used < 1.1 * seen);
}

TEST_CASE("quota: the count starts over with a period, and when the user says so", "[e2e][quota]") {
    const Metered run("tc");
    auto stream = upload(run.network, run.server);
    REQUIRE(wait_until([&] { return run.path().at("quota_left_bytes").get<std::uint64_t>() < burst_bytes; },
                       20s) >= 0);
    // Parked, and no longer carrying anything to speak of.
    std::this_thread::sleep_for(500ms);
    const std::uint64_t exhausted = run.seen_by_the_kernel();
    std::this_thread::sleep_for(1s);
    CHECK(run.seen_by_the_kernel() - exhausted < burst_bytes);

    // Raising the quota keeps the count.
    run.mpsched(fmt::format("path lte quota={}", 2 * quota_bytes));
    CHECK(wait_until([&] { return run.used() > 2 * quota_bytes - 2 * burst_bytes; }, 20s) >= 0);
    CHECK(run.seen_by_the_kernel() > quota_bytes * 3 / 2);

    run.mpsched("path lte quota_used=0");
    CHECK(wait_until([&] { return run.used() > quota_bytes; }, 20s) >= 0);
    // A period that is over before it is used up.
    run.mpsched(fmt::format("path lte quota={} quota_period=1 quota_used=0", quota_bytes));
    const std::uint64_t start = run.seen_by_the_kernel();
    CHECK(wait_until([&] { return run.seen_by_the_kernel() - start > 3 * quota_bytes; }, 30s) >= 0);
    stream.stop();
    check_clean(stream.wait());
    run.health.check();
}

TEST_CASE("quota: behind its quota a path goes on at the rate of quota_then, in either direction",
          "[e2e][quota]") {
    const auto network = must(Network::create(
        {.paths = {{.name = "free", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}},
         .congestion_control = "cubic"}));
    const auto server = serve(network);
    const Attachment attachment(network.a(), network.devices(), "tc");
    const Cli mpsched(network.a());
    // It is the preferred one: nothing but its quota keeps traffic off it.
    mpsched("path free priority=1");
    mpsched("path lte quota=500k quota_then=2Mbit");
    mpsched("use quota");
    for (const Direction direction : {Direction::upload, Direction::download}) {
        mpsched("path lte quota_used=500k");
        auto transfer = upload(network, server, {.direction = direction});
        // What was queued when the path was parked comes still, and is made up for.
        std::this_thread::sleep_for(path_time(1500ms));
        const std::uint64_t before = carried(network);
        const auto since = std::chrono::steady_clock::now();
        std::this_thread::sleep_for(path_time(3s));
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
        const double mbit = static_cast<double>(carried(network) - before) * 8 / 1e6 / seconds;
        report(fmt::format("{}: {:.2f} Mbit/s behind the quota",
                           direction == Direction::upload ? "upload" : "download", mbit));
        CHECK(mbit > 0.7);
        CHECK(mbit < 3.5);
        transfer.stop();
        check_clean(transfer.wait());
    }
    // Without it the path is parked, as ever.
    mpsched("path lte quota_then=none");
    auto transfer = upload(network, server);
    std::this_thread::sleep_for(path_time(1500ms));
    const std::uint64_t before = carried(network);
    std::this_thread::sleep_for(path_time(1s));
    CHECK(carried(network) - before < burst_bytes);
    transfer.stop();
    check_clean(transfer.wait());
}
